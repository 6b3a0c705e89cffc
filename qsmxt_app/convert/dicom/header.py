"""What the header of one DICOM file says about its images, for all vendors, classic and enhanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from qsmxt_app.convert.dicom.component import Component, component_of
from qsmxt_app.convert.dicom.fields import (
    INDEX,
    Raw,
    binary_integer,
    indices,
    integer,
    number,
    numbers,
    text,
    uid,
    words,
)

ENHANCED_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"})
"""SOP classes Enhanced MR Image and Legacy Converted Enhanced MR Image."""

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScanParameters:
    """What all files of a series have in common.

    Attributes
    ----------
    study_date, series_time
        As in the file: ``YYYYMMDD``, ``HHMMSS.ffffff``.
    repetition_time, inversion_time
        s; None where not given.
    field_strength
        T.
    flip_angle
        degrees.
    expected_slices
        Slices of one image, where the vendor says so (Philips, GE, mosaics).
    scanning_sequence, sequence_variant
        Codes such as ``GR``, ``IR``, ``EP``, ``SE``; for enhanced files the words of their own elements.
    technique
        The vendor's name of the sequence: Siemens ``*fl3d2r``, Philips ``T1FFE``, GE ``EFGRE3D``.
    """

    study_uid: str
    series_uid: str
    sop_class: str
    modality: str
    manufacturer: str
    model: str
    study_date: str
    series_date: str
    series_time: str
    series_number: int | None
    description: str
    protocol: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    identity_removed: bool
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    acquisition_type: str
    technique: str
    slice_thickness: float | None
    spacing_between_slices: float | None
    repetition_time: float | None
    inversion_time: float | None
    field_strength: float | None
    flip_angle: float | None
    expected_slices: int | None
    mosaic: bool

    @property
    def enhanced(self) -> bool:
        """Whether one file holds many frames."""
        return self.sop_class in ENHANCED_CLASSES


@dataclass(frozen=True, slots=True)
class ImageKind:
    """What the slices of one 3D image have in common.

    Attributes
    ----------
    echo_time
        s.
    orientation
        Direction cosines of rows and columns.
    pixel_spacing
        mm between rows and between columns.
    coil
        Name of the receive coil or of its element.
    """

    component: Component
    image_type: tuple[str, ...]
    echo_time: float | None
    echo_number: int | None
    inversion_time: float | None
    orientation: Vector
    rows: int
    columns: int
    pixel_spacing: Vector
    coil: str
    comments: str = ""


class Slice(NamedTuple):
    """One slice (or one mosaic): its kind and what is its own."""

    kind: ImageKind
    position: Vector  # mm, of the first voxel's centre
    instance: int | None
    acquisition: int | None
    temporal: int | None
    acquired: str  # YYYYMMDDHHMMSS.ffffff as far as known


class Header(NamedTuple):
    """One file."""

    path: str
    sop_uid: str
    scan: ScanParameters
    slices: tuple[Slice, ...]


SCAN_NAMES = """
    character_set sop_class study_uid series_uid modality manufacturer model study_date series_date
    series_time study_time series_number series_description protocol patient_id patient_name
    birth_date sex identity_removed scanning_sequence sequence_variant acquisition_type
    sequence_name pulse_sequence_name echo_pulse_sequence echo_planar ge_pulse_sequence
    ge_internal_sequence philips_technique slice_thickness spacing_between_slices repetition_time
    inversion_time field_strength flip_angle siemens_mosaic_slices uih_slices ge_locations
    philips_slices image_type
""".split()  # noqa: SIM905 - one name a line would fill the page
_SCAN_FIELDS = itemgetter(*indices(*SCAN_NAMES))
KIND_NAMES = """
    manufacturer image_type siemens_xa_image_type complex_component rescale_type ge_image_type
    philips_image_type echo_time echo_number inversion_time orientation rows columns pixel_spacing
    receive_coil siemens_coil siemens_xa_coil image_comments character_set
""".split()  # noqa: SIM905 - one name a line would fill the page
_KIND_FIELDS = itemgetter(*indices(*KIND_NAMES))
SLICE_NAMES = """
    sop_uid acquisition_date acquisition_datetime acquisition_time acquisition_number instance_number
    position temporal_position
""".split()  # noqa: SIM905 - one name a line would fill the page
_SLICE_FIELDS = itemgetter(*indices(*SLICE_NAMES))


def header_of(path: str, raw: Raw) -> Header:
    """Decode the header of a classic file; of an enhanced one, all but the frames."""
    return decoded(path, scan_of(_SCAN_FIELDS(raw)), kind_of(_KIND_FIELDS(raw)), _SLICE_FIELDS(raw))


def decoded(path: str, scan: ScanParameters, kind: ImageKind, own: Sequence[bytes | None]) -> Header:
    """Header of a file with one slice.

    Parameters
    ----------
    own
        Values of the slice's own fields, in the order of `SLICE_NAMES`, which is that of their tags.
    """
    sop_uid, date, acquired, time, acquisition, instance, position, temporal = own
    one = Slice(
        kind,
        numbers(position),
        integer(instance),
        integer(acquisition),
        integer(temporal),
        _digits(acquired or (date or b"") + (time or b"")),
    )
    return Header(path, uid(sop_uid), scan, (one,))


def is_enhanced(raw: Raw) -> bool:
    """Whether the file's frames are described in functional groups."""
    return uid(raw[INDEX["sop_class"]]) in ENHANCED_CLASSES


@lru_cache(maxsize=8192)
def scan_of(values: tuple[bytes | None, ...]) -> ScanParameters:
    """Decode the fields of `SCAN_NAMES`."""
    raw = dict(zip(SCAN_NAMES, values, strict=True))
    vendor = text(raw["manufacturer"], raw["character_set"])
    kinds = words(raw["image_type"])
    mosaic = "MOSAIC" in kinds or "VFRAME" in kinds
    expected = {
        "SIEMENS": binary_integer(raw["siemens_mosaic_slices"]) if mosaic else None,
        "UIH": integer(raw["uih_slices"]) if mosaic else None,
        "GE": binary_integer(raw["ge_locations"]),
        "PHILIPS": binary_integer(raw["philips_slices"]),
    }.get((vendor.upper().split() or [""])[0])
    own_name = {
        "GE": (raw["ge_internal_sequence"], raw["ge_pulse_sequence"]),
        "PHILIPS": (raw["philips_technique"],),
    }
    names = (
        raw["sequence_name"],
        raw["pulse_sequence_name"],
        *own_name.get((vendor.upper().split() or [""])[0], ()),
    )
    technique = [text(name, None) for name in names if text(name, None)]
    return ScanParameters(
        study_uid=uid(raw["study_uid"]),
        series_uid=uid(raw["series_uid"]),
        sop_class=uid(raw["sop_class"]),
        modality=text(raw["modality"]).upper(),
        manufacturer=vendor,
        model=text(raw["model"], raw["character_set"]),
        study_date=_date(raw["study_date"]) or _date(raw["series_date"]),
        series_date=_date(raw["series_date"]),
        series_time=_digits(raw["series_time"] or raw["study_time"] or b""),
        series_number=integer(raw["series_number"]),
        description=text(raw["series_description"], raw["character_set"]),
        protocol=text(raw["protocol"], raw["character_set"]),
        patient_id=text(raw["patient_id"], raw["character_set"]),
        patient_name=text(raw["patient_name"], raw["character_set"]),
        birth_date=_date(raw["birth_date"]),
        sex=text(raw["sex"]).upper()[:1],
        identity_removed=text(raw["identity_removed"]).upper() == "YES",
        scanning_sequence=words(raw["scanning_sequence"])
        or _scanning_words(words(raw["echo_pulse_sequence"]), words(raw["echo_planar"])),
        sequence_variant=words(raw["sequence_variant"]),
        acquisition_type=text(raw["acquisition_type"]).upper(),
        technique=" ".join(dict.fromkeys(technique)),
        slice_thickness=_positive(number(raw["slice_thickness"])),
        spacing_between_slices=_positive(abs(number(raw["spacing_between_slices"]) or 0.0)),
        repetition_time=_seconds(number(raw["repetition_time"])),
        inversion_time=_seconds(number(raw["inversion_time"])),
        field_strength=_positive(number(raw["field_strength"])),
        flip_angle=_positive(number(raw["flip_angle"])),
        expected_slices=expected if expected and expected > 0 else None,
        mosaic=mosaic,
    )


def _scanning_words(echo_pulse: tuple[str, ...], echo_planar: tuple[str, ...]) -> tuple[str, ...]:
    """Codes of classic files for what enhanced files say in words."""
    codes = {"GRADIENT": ("GR",), "SPIN": ("SE",), "BOTH": ("GR", "SE")}.get("".join(echo_pulse[:1]), ())
    return (*codes, "EP") if echo_planar[:1] == ("YES",) else codes


@lru_cache(maxsize=8192)
def kind_of(values: tuple[bytes | None, ...]) -> ImageKind:
    """Decode the fields of `KIND_NAMES`."""
    raw = dict(zip(KIND_NAMES, values, strict=True))
    vendor = (text(raw["manufacturer"]).upper().split() or [""])[0]
    siemens, philips = vendor == "SIEMENS", vendor == "PHILIPS"
    kinds = words(raw["image_type"])
    own = words(raw["siemens_xa_image_type"]) if siemens else ()
    component = component_of(
        vendor,
        (*kinds[:2], *own[2:], *kinds[2:]),
        text(raw["complex_component"]),
        text(raw["rescale_type"]),
        binary_integer(raw["ge_image_type"]) if vendor == "GE" else None,
        text(raw["philips_image_type"]) if philips else "",
    )
    coil = text(raw["siemens_coil"]) or text(raw["siemens_xa_coil"]) if siemens else ""
    return ImageKind(
        component=component,
        image_type=tuple(dict.fromkeys((*kinds, *own))),
        echo_time=_seconds(number(raw["echo_time"])),
        echo_number=integer(raw["echo_number"]),
        inversion_time=_seconds(number(raw["inversion_time"])),
        orientation=numbers(raw["orientation"]),
        rows=(binary_integer(raw["rows"]) or 0) & 0xFFFF,
        columns=(binary_integer(raw["columns"]) or 0) & 0xFFFF,
        pixel_spacing=numbers(raw["pixel_spacing"]),
        coil=coil or text(raw["receive_coil"]),
        comments=text(raw["image_comments"], raw["character_set"]),
    )


@lru_cache(maxsize=65536)
def acquired_at(when: str) -> datetime | None:
    """Date and time of ``YYYYMMDDHHMMSS.ffffff``; None where there is no valid date in it."""
    try:
        day = datetime.strptime(when[:8], "%Y%m%d")
    except ValueError:
        return None
    clock, _, fraction = when[8:].partition(".")
    clock = clock.ljust(6, "0")[:6]
    try:
        time = datetime.strptime(clock, "%H%M%S")
    except ValueError:
        return day
    microseconds = int(fraction[:6].ljust(6, "0")) if fraction.isdigit() else 0
    return day + timedelta(
        hours=time.hour, minutes=time.minute, seconds=time.second, microseconds=microseconds
    )


@lru_cache(maxsize=65536)
def _digits(raw: bytes) -> str:
    return "".join(c for c in raw.decode("ascii", "replace").partition("+")[0] if c in "0123456789.")[:26]


def _date(raw: bytes | None) -> str:
    digits = "".join(c for c in (raw or b"").decode("ascii", "replace") if c in "0123456789")
    return digits[:8] if len(digits) >= 8 else ""


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None or milliseconds <= 0 else milliseconds / 1000


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
