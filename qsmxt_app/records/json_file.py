"""Reading and writing records as JSON: of the right version and types, or one line that says why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qsmxt_app.bids.atomic import write_json
from qsmxt_app.bids.small_file import read_small_bytes
from qsmxt_app.errors import QsmxtError

T = TypeVar("T")


class UnreadableRecord(QsmxtError):
    """A record that is damaged, or of a version that this one does not know."""


def to_json(record: Any) -> dict[str, Any]:
    """Return a record, which is a dataclass, as the content of its file."""
    return dataclasses.asdict(record)


def from_json(content: object, kind: type[T], version: int, migrate: Callable[[Any], Any]) -> T:
    """Make a record of decoded JSON.

    Parameters
    ----------
    content
        Decoded JSON.
    kind
        Dataclass of the record, with a field `version`.
    version
        That of this version of the tool.
    migrate
        Turns content of version 1, which called its version `schema`, into that of version 2.

    Raises
    ------
    UnreadableRecord
        Another version, or a value of the wrong type; the message names it.
    """
    if isinstance(content, dict) and "version" not in content:
        content = migrate(content)
    found = content.get("version") if isinstance(content, dict) else None
    if isinstance(found, int) and found != version:
        raise UnreadableRecord(f"it is of version {found}, and this version of qsmxt reads version {version}")
    try:
        return msgspec.convert(content, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableRecord(str(error)) from error


def read_json_file(path: Path) -> object:
    """Read a JSON file.

    Raises
    ------
    UnreadableRecord
        It cannot be read, or holds no JSON.
    """
    try:
        return msgspec.json.decode(read_small_bytes(path))
    except (QsmxtError, msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableRecord(str(error)) from error


def write_record(record: Any, path: Path) -> Path:
    """Write a record, complete or not at all."""
    write_json(path, to_json(record))
    return path
