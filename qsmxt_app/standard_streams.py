"""Standard error that may be closed, full or read by nobody any more: a run goes on without it."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

STANDARD_DESCRIPTORS = 3


class Messages(io.TextIOBase):
    """Standard error, until a write fails; from then on, messages go nowhere.

    Parameters
    ----------
    stream
        What is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of what is written to."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding does not have."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        if not self.lost:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: it was closed
                self._give_up()
        return len(text)

    def writable(self) -> bool:
        """Return True: nobody is to care whether it arrives."""
        return True

    def flush(self) -> None:
        """Do nothing: each text is passed on at once."""

    def isatty(self) -> bool:
        """Return whether a person may be reading."""
        return not self.lost and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._stream.fileno()

    def _give_up(self) -> None:
        """Send the descriptor nowhere, with what libraries and the interpreter's end still write to it."""
        self.lost = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stderr__.fileno() if sys.__stderr__ else 2)
        os.close(nowhere)


def messages_lost() -> bool:
    """Whether nothing that is written to standard error arrives."""
    return isinstance(sys.stderr, Messages) and sys.stderr.lost


def keep_standard_streams() -> None:
    """Make sure that messages end no run, and that no file is opened in place of a standard stream."""
    closed = [number for number in range(STANDARD_DESCRIPTORS) if not _is_open(number)]
    for _ in closed:  # the lowest free number is taken
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if not isinstance(sys.stderr, Messages):
        sys.stderr = Messages(sys.stderr)
    sys.stderr.lost = 2 in closed


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
