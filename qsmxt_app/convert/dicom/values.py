"""Values of DICOM elements as plain text and numbers: what breaks the standard costs that one value."""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.dataset import Dataset

MAXIMUM_TEXT = 256
"""Characters kept of any text: what is longer was not written by a scanner."""
MAXIMUM_WORDS, MAXIMUM_WORD = 32, 64

Key = int | str
"""Tag, or keyword of the standard."""


def value(dataset: Dataset, key: Key) -> Any:
    """Value as pydicom decodes it; what it cannot decode as bytes; None where the element is missing."""
    try:
        return dataset[key].value
    except KeyError:
        return None
    except Exception:  # pydicom raises whatever the bytes lead it to
        item = dataset.get_item(key)
        return getattr(item, "value", None)


def _items(dataset: Dataset, key: Key) -> list[Any]:
    """All values of an element; bytes are split as text."""
    found = value(dataset, key)
    if isinstance(found, bytes):
        found = found.decode("latin-1").strip("\0 ").split("\\")
    if found is None or found == "":
        return []
    return [found] if isinstance(found, str | int | float) or not hasattr(found, "__iter__") else list(found)


def text(dataset: Dataset, key: Key) -> str:
    """Text of an element; control characters become blanks."""
    found = value(dataset, key)
    joined = str(found) if hasattr(found, "components") else "\\".join(map(str, _items(dataset, key)))
    printable = "".join(c if c.isprintable() else " " for c in joined[: 4 * MAXIMUM_TEXT])
    return " ".join(printable.split())[:MAXIMUM_TEXT]


def words(dataset: Dataset, key: Key) -> tuple[str, ...]:
    """Code strings in upper case, without empty ones at the end."""
    blank = [" ".join(str(item).replace("\0", " ").split()).upper() for item in _items(dataset, key)]
    printable = ["".join(c for c in word if c.isprintable())[:MAXIMUM_WORD] for word in blank[:MAXIMUM_WORDS]]
    while printable and not printable[-1]:
        printable.pop()
    return tuple(printable)


def numbers(dataset: Dataset, key: Key) -> tuple[float, ...]:
    """All numbers of an element; empty where any of them is not a finite number."""
    try:
        found = tuple(map(float, _items(dataset, key)))
    except (TypeError, ValueError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def number(dataset: Dataset, key: Key) -> float | None:
    """First number of an element."""
    found = numbers(dataset, key)
    return found[0] if found else None


def positive(dataset: Dataset, key: Key) -> float | None:
    """First number of an element, where it is greater than zero."""
    found = number(dataset, key)
    return found if found is not None and found > 0 else None


def seconds(dataset: Dataset, key: Key) -> float | None:
    """Time in s of an element in ms; None for zero, which scanners write for times that they do not know."""
    found = positive(dataset, key)
    return None if found is None else found / 1000


def integer(dataset: Dataset, key: Key) -> int | None:
    """First integer of an element; two or four bytes of unknown representation are a little-endian number."""
    found = value(dataset, key)
    if isinstance(found, bytes) and len(found) in {2, 4}:
        return int.from_bytes(found, "little", signed=True)
    first = number(dataset, key)
    return None if first is None else int(first)


def uid(dataset: Dataset, key: Key) -> str:
    """Unique identifier; characters that none may have are dropped."""
    plain = str(value(dataset, key) or "").rstrip("\0 ")
    if len(plain) <= 64 and plain.replace(".", "0").isdecimal():
        return plain
    return re.sub(r"[^0-9A-Za-z.]", "", plain)[:128]


def date(dataset: Dataset, key: Key) -> str:
    """Date as ``YYYYMMDD``; empty where there is none."""
    digits = "".join(c for c in str(value(dataset, key) or "") if c in "0123456789")
    return digits[:8] if len(digits) >= 8 else ""


def time(dataset: Dataset, *keys: Key) -> str:
    """Digits of dates and times, one after another, without time zone: ``YYYYMMDDHHMMSS.ffffff``."""
    joined = "".join(str(value(dataset, key) or "") for key in keys)
    return "".join(c for c in joined.partition("+")[0] if c in "0123456789.")[:26]
