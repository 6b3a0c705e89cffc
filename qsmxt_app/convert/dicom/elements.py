"""Where the wanted elements of a DICOM header lie, found by stepping over all others.

A general DICOM reader builds an object for each of the hundreds of elements in a header: that takes
milliseconds a file and minutes for the folders people have. Sorting a scan needs some sixty short elements at
the top level of the header, so the walk below compares tags, remembers where the wanted values lie and steps
over the rest.
What it does not understand (big-endian, deflated, damaged) is left to pydicom.

References
----------
DICOM PS3.5, section 7.1 (data elements) and 7.5 (nesting of data sets).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

DONE, NEEDS_BYTES, NOT_UNDERSTOOD = 0, 1, 2
"""How a walk over one buffer ended."""

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# value representations whose length takes four bytes after two reserved ones
_LONG_FORMS = frozenset(
    first << 8 | second for first, second in (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR",
                                              b"UT", b"UN", b"SV", b"UV")
)  # fmt: skip
_IS_LONG_FORM = np.zeros(1 << 16, np.bool_)
_IS_LONG_FORM[list(_LONG_FORMS)] = True
_SEQUENCE = ord("S") << 8 | ord("Q")
_UNKNOWN = ord("U") << 8 | ord("N")


@numba.njit(cache=True, nogil=True)
def walk(  # noqa: PLR0911, PLR0912 - one pass over bytes; calls would cost more than the branches
    data: NDArray[np.uint8],
    start: int,
    explicit: bool,
    depth: int,
    wanted: NDArray[np.uint32],
    is_long_form: NDArray[np.bool_],
    found: NDArray[np.int64],
) -> tuple[Any, Any, Any, Any, Any]:
    """Step over the elements of one buffer and note where the wanted values lie.

    Parameters
    ----------
    data
        Bytes of the file, from some offset on.
    start
        Where the next element begins in `data`; may lie beyond its end.
    explicit
        Whether elements carry their value representation.
    depth
        How many sequences or items of undefined length are open.
    wanted
        Tags to find at depth 0, rising.
    is_long_form
        `LONG_FORMS`: for each two letters, whether the length takes four bytes.
    found
        (len(wanted), 2), filled with offset and length in `data` of each value found.

    Returns
    -------
    status, position, depth, pixel_length, count
        `status`; where the next element begins, or the element that needs more bytes, or the pixel data's
        value; the depth there; the pixel data's length in bytes (-1: not reached, -2: in fragments); elements
        found.
    """
    size = np.int64(data.size)
    position: Any = start
    count = 0
    index = 0
    last = np.int64(0)
    while True:
        if position + 12 > size:
            return NEEDS_BYTES, position, depth, -1, count
        tag = (
            np.int64(data[position + 1]) << 24
            | np.int64(data[position]) << 16
            | np.int64(data[position + 3]) << 8
            | np.int64(data[position + 2])
        )
        header = 8
        representation = np.int64(0)
        is_delimiter = tag in (_ITEM, _ITEM_END, _SEQUENCE_END)
        if explicit and not is_delimiter:
            representation = np.int64(data[position + 4]) << 8 | np.int64(data[position + 5])
            if is_long_form[representation]:
                header = 12
                length = (
                    np.int64(data[position + 8])
                    | np.int64(data[position + 9]) << 8
                    | np.int64(data[position + 10]) << 16
                    | np.int64(data[position + 11]) << 24
                )
            else:
                for letter in (data[position + 4], data[position + 5]):
                    if letter < 65 or letter > 90:
                        return NOT_UNDERSTOOD, position, depth, -1, count
                length = np.int64(data[position + 6]) | np.int64(data[position + 7]) << 8
        else:
            length = (
                np.int64(data[position + 4])
                | np.int64(data[position + 5]) << 8
                | np.int64(data[position + 6]) << 16
                | np.int64(data[position + 7]) << 24
            )
        if depth == 0:
            if is_delimiter:
                return NOT_UNDERSTOOD, position, depth, -1, count
            if tag == _PIXEL_DATA or tag in _FLOAT_PIXEL_DATA:
                if length == _UNDEFINED_LENGTH:
                    return DONE, position + header, depth, -2, count
                return DONE, position + header, depth, length, count
            if tag < last:  # against the standard, but seen
                index = 0
            last = tag
            while index < wanted.size and wanted[index] < tag:
                index += 1
            if index < wanted.size and wanted[index] == tag and length < _UNDEFINED_LENGTH:
                if position + header + length > size:
                    return NEEDS_BYTES, position, depth, -1, count
                found[index, 0] = position + header
                found[index, 1] = length
                count += 1
        if length == _UNDEFINED_LENGTH:
            if representation == _UNKNOWN:
                return NOT_UNDERSTOOD, position, depth, -1, count
            if explicit and not is_delimiter and representation != _SEQUENCE:
                return NOT_UNDERSTOOD, position, depth, -1, count
            depth += 1
            position += header
        elif tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
            position += header
        else:
            position += header + length


def long_forms() -> NDArray[np.bool_]:
    """Table over two-letter codes: whether such an element's length takes four bytes."""
    return _IS_LONG_FORM
