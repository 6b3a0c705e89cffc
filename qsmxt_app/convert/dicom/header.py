"""What the header of one DICOM file says about its images, for all vendors, classic and enhanced."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from qsmxt_app.bids.timing import FIELD_RANGE
from qsmxt_app.convert.dicom.component import Component, component_of
from qsmxt_app.convert.dicom.values import (
    Key,
    date,
    integer,
    number,
    numbers,
    positive,
    seconds,
    text,
    time,
    uid,
    words,
)
from qsmxt_app.convert.dicom.vendors import VENDORS, Vendor, vendor_of
from qsmxt_app.qsm.constants import GAMMA_BAR_MHZ_PER_T

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
    scanning_sequence
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
    series_time: str
    series_number: int | None
    description: str
    protocol: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    scanning_sequence: tuple[str, ...]
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
    """One file. An enhanced one has a slice for each of its frames."""

    path: str
    sop_uid: str
    scan: ScanParameters
    slices: tuple[Slice, ...]


STANDARD_ELEMENTS = """
    SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate SeriesDate AcquisitionDate
    AcquisitionDateTime StudyTime SeriesTime AcquisitionTime Modality Manufacturer SeriesDescription
    ManufacturerModelName ComplexImageComponent PatientName PatientID PatientBirthDate PatientSex
    ScanningSequence MRAcquisitionType SequenceName SliceThickness
    RepetitionTime EchoTime InversionTime EchoNumbers MagneticFieldStrength SpacingBetweenSlices ProtocolName
    ImagingFrequency ReceiveCoilName FlipAngle PulseSequenceName EchoPulseSequence EchoPlanarPulseSequence
    StudyInstanceUID SeriesInstanceUID SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient
    ImageOrientationPatient TemporalPositionIdentifier ImageComments SamplesPerPixel
    PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated PixelSpacing RescaleType
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
""".split()  # noqa: SIM905 - one name a line would fill the page


def elements() -> list[BaseTag]:
    """Elements of a header that sorting a scan needs: the standard's, and those of the registered vendors."""
    private = [tag for vendor in VENDORS for tag in (*vendor.elements, vendor.frame) if tag]
    return [*map(Tag, STANDARD_ELEMENTS), *map(Tag, private)]


def header_of(path: str, dataset: Dataset) -> Header:
    """Describe a classic file; of an enhanced one, all but the frames (see `frames.with_frames`)."""
    vendor = vendor_of(text(dataset, "Manufacturer"))
    one = Slice(
        _kind(dataset, vendor),
        numbers(dataset, "ImagePositionPatient"),
        integer(dataset, "InstanceNumber"),
        integer(dataset, "AcquisitionNumber"),
        integer(dataset, "TemporalPositionIdentifier"),
        time(dataset, "AcquisitionDateTime") or time(dataset, "AcquisitionDate", "AcquisitionTime"),
    )
    return Header(path, uid(dataset, "SOPInstanceUID"), _scan(dataset, vendor), (one,))


def _scan(dataset: Dataset, vendor: Vendor) -> ScanParameters:
    kinds = words(dataset, "ImageType")
    mosaic = "MOSAIC" in kinds or "VFRAME" in kinds
    slices = vendor.slices_per_volume(dataset, mosaic)
    keys: tuple[Key, ...] = ("SequenceName", "PulseSequenceName", *vendor.sequence_names)
    names = [text(dataset, key) for key in keys]
    return ScanParameters(
        study_uid=uid(dataset, "StudyInstanceUID"),
        series_uid=uid(dataset, "SeriesInstanceUID"),
        sop_class=uid(dataset, "SOPClassUID"),
        modality=text(dataset, "Modality").upper(),
        manufacturer=text(dataset, "Manufacturer"),
        model=text(dataset, "ManufacturerModelName"),
        study_date=date(dataset, "StudyDate") or date(dataset, "SeriesDate"),
        series_time=time(dataset, "SeriesTime") or time(dataset, "StudyTime"),
        series_number=integer(dataset, "SeriesNumber"),
        description=text(dataset, "SeriesDescription"),
        protocol=text(dataset, "ProtocolName"),
        patient_id=text(dataset, "PatientID"),
        patient_name=text(dataset, "PatientName"),
        birth_date=date(dataset, "PatientBirthDate"),
        sex=text(dataset, "PatientSex").upper()[:1],
        scanning_sequence=words(dataset, "ScanningSequence") or _scanning_sequence(dataset),
        acquisition_type=text(dataset, "MRAcquisitionType").upper(),
        technique=" ".join(dict.fromkeys(name for name in names if name)),
        slice_thickness=positive(dataset, "SliceThickness"),
        # a negative one says that slices overlap or rise the other way
        spacing_between_slices=abs(number(dataset, "SpacingBetweenSlices") or 0.0) or None,
        repetition_time=seconds(dataset, "RepetitionTime"),
        inversion_time=seconds(dataset, "InversionTime"),
        field_strength=_field_strength(dataset),
        flip_angle=positive(dataset, "FlipAngle"),
        expected_slices=slices if slices and slices > 0 else None,
        mosaic=mosaic,
    )


def _field_strength(dataset: Dataset) -> float | None:
    """Field strength in T; one in gauss or millitesla is converted where only one unit is possible."""
    given, frequency = positive(dataset, "MagneticFieldStrength"), positive(dataset, "ImagingFrequency")
    if given is None or given <= FIELD_RANGE[1]:
        return given
    possible = [given / unit for unit in (1e4, 1e3) if FIELD_RANGE[0] <= given / unit <= FIELD_RANGE[1]]
    if frequency is not None:
        measured = frequency / GAMMA_BAR_MHZ_PER_T
        possible = [field for field in possible if abs(field - measured) < 0.1 * field]
    return possible[0] if len(possible) == 1 else given


def _scanning_sequence(dataset: Dataset) -> tuple[str, ...]:
    """Codes of classic files for what enhanced files say in words."""
    pulse = "".join(words(dataset, "EchoPulseSequence")[:1])
    codes = {"GRADIENT": ("GR",), "SPIN": ("SE",), "BOTH": ("GR", "SE")}.get(pulse, ())
    return (*codes, "EP") if words(dataset, "EchoPlanarPulseSequence")[:1] == ("YES",) else codes


def _kind(dataset: Dataset, vendor: Vendor) -> ImageKind:
    kinds, own = words(dataset, "ImageType"), vendor.image_type(dataset)
    component = component_of(
        (*kinds[:2], *own[2:], *kinds[2:]),
        text(dataset, "ComplexImageComponent"),
        text(dataset, "RescaleType"),
        vendor.component(dataset),
    )
    return ImageKind(
        component=component,
        image_type=tuple(dict.fromkeys((*kinds, *own))),
        echo_time=seconds(dataset, "EchoTime"),
        echo_number=integer(dataset, "EchoNumbers"),
        inversion_time=seconds(dataset, "InversionTime"),
        orientation=numbers(dataset, "ImageOrientationPatient"),
        rows=integer(dataset, "Rows") or 0,
        columns=integer(dataset, "Columns") or 0,
        pixel_spacing=numbers(dataset, "PixelSpacing"),
        coil=vendor.coil(dataset) or text(dataset, "ReceiveCoilName"),
        comments=text(dataset, "ImageComments"),
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
