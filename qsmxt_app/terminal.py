"""What reaches a terminal or a log: text, and no control sequences that names of files may hold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rich.console import Console


def printable(text: str, keep: str = "") -> str:
    r"""Replace control characters and what turns the direction of writing.

    Examples
    --------
    >>> printable("sub-\x1b[2J\n")
    'sub-?[2J?'
    """
    return "".join(char if char.isprintable() or char in keep else "?" for char in text)


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts.

    Examples
    --------
    >>> counted(1, "scan"), counted(0, "scan"), counted(2, "scan")
    ('1 scan', '0 scans', '2 scans')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def named(names: Sequence[str], noun: str, most: int = 3) -> str:
    """Return how many things there are, and the names of the first.

    Examples
    --------
    >>> named(["a.zip", "b.tar"], "archive"), named(["a", "b", "c", "d"], "file", 2)
    ('2 archives: a.zip, b.tar', '4 files: a, b and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{counted(len(names), noun)}: {', '.join(names[:most])}{more}"


class PlainConsole(Console):
    """Console that shows text as it is: neither markup nor control sequences in it have an effect."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; text loses its control characters."""
        safe = (printable(each, keep="\n") if isinstance(each, str) else each for each in objects)
        super().print(*safe, **{"soft_wrap": True} | options)


class PlainFormatter(logging.Formatter):
    """Format of log lines without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback keeps its own."""
        return printable(super().format(record), keep="\n\t")
