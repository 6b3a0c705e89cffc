"""How a setting is declared: once, for the flag, the key of a file, the help and the checks."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol


class Declare(Protocol):
    """Declare a setting of one group by its default and its help text.

    `details` may hold `choices`, `metavar`, `aliases`, `short`, `least` and `most` (smallest and largest
    value), and `kind` ("file" or "folder" that must exist).
    """

    def __call__(self, default: Any, text: str, **details: Any) -> Any:
        """Return the field of a dataclass."""


def declared_in(group: str) -> Declare:
    """Return what declares the settings under one title of the help page."""

    def setting(default: Any, text: str, **details: Any) -> Any:
        return dataclasses.field(default=default, metadata={"group": group, "help": text, **details})

    return setting
