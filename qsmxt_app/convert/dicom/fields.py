"""The elements of a DICOM header that sorting a scan needs, and how their bytes are read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import convert_encodings, decode_bytes

TAGS: dict[str, int] = {
    "transfer_syntax": 0x00020010,
    "character_set": 0x00080005,
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "study_date": 0x00080020,
    "series_date": 0x00080021,
    "acquisition_date": 0x00080022,
    "acquisition_datetime": 0x0008002A,
    "study_time": 0x00080030,
    "series_time": 0x00080031,
    "acquisition_time": 0x00080032,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "series_description": 0x0008103E,
    "model": 0x00081090,
    "complex_component": 0x00089208,
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
    "identity_removed": 0x00120062,
    "scanning_sequence": 0x00180020,
    "sequence_variant": 0x00180021,
    "acquisition_type": 0x00180023,
    "sequence_name": 0x00180024,
    "slice_thickness": 0x00180050,
    "repetition_time": 0x00180080,
    "echo_time": 0x00180081,
    "inversion_time": 0x00180082,
    "echo_number": 0x00180086,
    "field_strength": 0x00180087,
    "spacing_between_slices": 0x00180088,
    "protocol": 0x00181030,
    "receive_coil": 0x00181250,
    "flip_angle": 0x00181314,
    "pulse_sequence_name": 0x00189005,
    "echo_pulse_sequence": 0x00189008,
    "echo_planar": 0x00189018,
    "siemens_mosaic_slices": 0x0019100A,
    "ge_pulse_sequence": 0x0019109C,
    "ge_internal_sequence": 0x0019109E,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "series_number": 0x00200011,
    "acquisition_number": 0x00200012,
    "instance_number": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "temporal_position": 0x00200100,
    "image_comments": 0x00204000,
    "ge_locations": 0x0021104F,
    "siemens_xa_coil": 0x0021114F,
    "siemens_xa_image_type": 0x00211175,
    "n_frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_spacing": 0x00280030,
    "rescale_type": 0x00281054,
    "ge_image_type": 0x0043102F,
    "siemens_coil": 0x0051100F,
    "uih_slices": 0x00651050,
    "philips_slices": 0x20011018,
    "philips_technique": 0x20011020,
    "philips_image_type": 0x20051011,
}
"""Where each field lies. Private tags are looked at only for files of their manufacturer."""

NAMES: tuple[str, ...] = tuple(TAGS)
WANTED: NDArray[np.uint32] = np.array(list(TAGS.values()), dtype=np.uint32)
INDEX: dict[str, int] = {name: index for index, name in enumerate(NAMES)}

Raw = Sequence[bytes | None]
"""One value for each of `NAMES`: the bytes in the file, or None where the element is missing."""

LONGEST_TEXT = 256
"""Characters kept of any text: what is longer was not written by a scanner."""


def indices(*names: str) -> tuple[int, ...]:
    """Where these fields stand in a `Raw` header."""
    return tuple(INDEX[name] for name in names)


@lru_cache(maxsize=4096)
def text(raw: bytes | None, character_set: bytes | None = None) -> str:
    """Decode a text value; control characters become blanks."""
    if not raw:
        return ""
    encodings = ["iso8859"]
    if character_set:
        # an unknown character set warns and reads as ASCII: a wrong letter is no reason to lose a scan
        names = [
            name.strip() for name in character_set.decode("ascii", "replace").replace("\0", "").split("\\")
        ]
        encodings = convert_encodings(names)
    decoded = decode_bytes(raw[: 4 * LONGEST_TEXT], encodings, {0x1B, 0x5C, 0x0A, 0x0C, 0x0D, 0x5E, 0x3D})
    printable = "".join(c if c.isprintable() else " " for c in decoded)
    return " ".join(printable.split())[:LONGEST_TEXT]


@lru_cache(maxsize=4096)
def words(raw: bytes | None) -> tuple[str, ...]:
    """Decode a multi-valued code string in upper case, without empty values at the end."""
    if not raw:
        return ()
    values = [
        " ".join(v.split()).upper() for v in raw.decode("ascii", "replace").replace("\0", " ").split("\\")
    ]
    printable = ["".join(c for c in v if c.isprintable())[:64] for v in values[:32]]
    while printable and not printable[-1]:
        printable.pop()
    return tuple(printable)


def numbers(raw: bytes | None) -> tuple[float, ...]:
    """Decode decimal or integer strings; empty where any of them is no finite number."""
    if not raw:
        return ()
    try:
        values = tuple(map(float, raw.strip(b" \0").split(b"\\")))
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()


@lru_cache(maxsize=65536)
def number(raw: bytes | None) -> float | None:
    """Decode the first decimal or integer string."""
    values = numbers(raw)
    return values[0] if values else None


def integer(raw: bytes | None) -> int | None:
    """Decode the first integer string."""
    try:
        return int(raw) if raw else None
    except ValueError:
        value = number(raw)
        return None if value is None else int(value)


@lru_cache(maxsize=4096)
def binary_integer(raw: bytes | None) -> int | None:
    """Decode a little-endian integer of two or four bytes, or an integer string of any other length."""
    if not raw:
        return None
    if len(raw) in {2, 4}:
        return int.from_bytes(raw, "little", signed=True)
    return integer(raw)


def uid(raw: bytes | None) -> str:
    """Decode a unique identifier; characters that none may have are dropped."""
    plain = (raw or b"").rstrip(b"\0 ").decode("ascii", "replace")
    if len(plain) <= 64 and plain.replace(".", "0").isdecimal():
        return plain
    return re.sub(r"[^0-9A-Za-z.]", "", plain)[:128]
