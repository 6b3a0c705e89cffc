"""Write small synthetic DICOM series in the header styles of scanners, with known voxels and geometry.

A `DicomSeries` describes one series: who, when, which scanner style, and its volumes (echo, component, coil)
with the *stored* integers. `write_series` writes it: one file a slice (classic), or one file for all
(``philips-enhanced``, ``siemens-xa``: there, as on the scanner, one file an echo and component).

    magnitude, phase = echoes()                            # (x, y, z, echo); phase in rad
    for series in gradient_echo("siemens", magnitude, phase, (0.004, 0.008)):
        paths = write_series(folder, series)
    image = on_written_grid(nib.load(converted), series)   # (x, y, z), axes as written

`gradient_echo` encodes like the vendor: Siemens 0..4095 with slope 2, Philips millirad with slope 1.53, GE
millirad or real and imaginary, of opposite sign, with the sign of every second slice changed.
"""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

Vendor = Literal["siemens", "siemens-xa", "philips", "philips-enhanced", "ge", "canon", "uih"]
Component = Literal["magnitude", "phase", "real", "imaginary", "phasediff", "b0map"]

VENDORS: tuple[Vendor, ...] = ("siemens", "siemens-xa", "philips", "philips-enhanced", "ge", "canon", "uih")
CLASSIC: tuple[Vendor, ...] = ("siemens", "philips", "ge", "canon", "uih")

_MR, _ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
_MANUFACTURER = {
    "siemens": ("SIEMENS", "Prisma"),
    "siemens-xa": ("Siemens Healthineers", "MAGNETOM Prisma Fit"),
    "philips": ("Philips", "Ingenia Elition X"),
    "philips-enhanced": ("Philips", "Ingenia Elition X"),
    "ge": ("GE MEDICAL SYSTEMS", "SIGNA Premier"),
    "canon": ("CANON_MEC", "MRT200SP5"),
    "uih": ("UIH", "uMR 790"),
}
_LETTER = {
    "magnitude": "M",
    "phase": "P",
    "real": "R",
    "imaginary": "I",
    "phasediff": "P",
    "b0map": "B0",
}
_COMPLEX_COMPONENT = {
    "magnitude": "MAGNITUDE",
    "phase": "PHASE",
    "real": "REAL",
    "imaginary": "IMAGINARY",
    "phasediff": "PHASE",
    "b0map": "REAL",
}
_GE_RAW_DATA_TYPE = {"magnitude": 0, "phase": 1, "real": 2, "imaginary": 3, "phasediff": 1, "b0map": 0}
_SEQUENCES = {  # scanning sequence, variant, name as Siemens writes it, TR, flip angle, TI
    "gre": ("GR", "SP", "*fl3d{echoes}r", 35.0, 15, None),
    "mprage": (["GR", "IR"], ["SK", "SP", "MP"], "*tfl3d1_16ns", 2300.0, 9, 900.0),
    "localiser": ("GR", ["SP", "OSP"], "*fl2d1", 8.6, 20, None),
    "field-map": ("GR", "SP", "*fm2d2r", 400.0, 60, None),
    "spin-echo": ("SE", "SK", "*tse2d1_9", 3000.0, 150, None),
}
SequenceKind = Literal["gre", "mprage", "localiser", "field-map", "spin-echo"]

SIEMENS_PHASE = (2.0, -4096.0)
PHILIPS_PHASE = (1.53455433455433, -3142.0)
PHILIPS_MAGNITUDE = (1.29157509157509, 0.0)
PHILIPS_FIELD_MAP = (0.25, -512.0)
PHILIPS_FLOAT_SLOPE = {"magnitude": 0.00023798899, "phase": 651.73950195, "real": 0.002, "imaginary": 0.002}


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D image: the integers that the files store, and how to read them.

    Attributes
    ----------
    stored
        (x, y, z) int: x along the columns of a slice, y along its rows, z the slice.
    echo_time
        s.
    slope, intercept
        Value = slope * stored + intercept; None: the file has no rescaling.
    coil
        Name of the channel of an uncombined image.
    repetition
        From 1, where the same image is acquired again.
    """

    stored: NDArray
    component: Component = "magnitude"
    echo_time: float = 0.005
    echo_number: int = 1
    slope: float | None = None
    intercept: float | None = None
    coil: str | None = None
    repetition: int = 1

    @property
    def values(self) -> NDArray[np.float64]:
        """Stored integers with slope and intercept applied."""
        return np.asarray(self.stored, dtype=np.float64) * (self.slope or 1.0) + (self.intercept or 0.0)


def straight_affine(voxel_size: Sequence[float] = (2, 2, 3), origin: Sequence[float] = (0, 0, 0)) -> NDArray:
    """Affine of axial slices, rows from anterior to posterior as scanners store them."""
    affine = np.diag([-voxel_size[0], -voxel_size[1], voxel_size[2], 1.0])
    affine[:3, 3] = origin
    return affine


def oblique_affine(
    voxel_size: Sequence[float] = (2, 2.5, 3), degrees: Sequence[float] = (12, -8, 5)
) -> NDArray:
    """Affine of slices turned about all three axes."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[[one, one, two, two], [one, two, one, two]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-voxel_size[0], -voxel_size[1], voxel_size[2]])
    affine[:3, 3] = (21.5, 30.25, -11.0)
    return affine


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """One series. `affine` (mm, RAS) is that of the voxels; `extra` sets tags, or removes them (None).

    The same `study`, `series` text gives the same UIDs, so series of one study share `study`.
    """

    vendor: Vendor
    volumes: tuple[Volume, ...]
    number: int = 1
    description: str = "gre_qsm"
    protocol: str | None = None
    sequence: SequenceKind = "gre"
    acquisition_type: Literal["2D", "3D"] = "3D"
    patient_id: str = "P001"
    patient_name: str = "Doe^Jane"
    birth_date: str = "19800501"
    sex: str = "F"
    date: str = "20240102"
    time: str = "101500.000000"
    study: str | None = None
    series: str | None = None
    field_strength: float = 3.0
    affine: NDArray = field(default_factory=oblique_affine)
    image_type: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def study_uid(self) -> str:
        """UID of the study: the same for the same person and date unless `study` says otherwise."""
        return _uid("study", self.study or f"{self.patient_id}{self.date}")

    @property
    def series_uid(self) -> str:
        """UID of the series: the same for the same study, number and description unless `series` is given."""
        return _uid("series", self.study_uid, self.series or f"{self.number}{self.description}")


def echoes(
    shape: tuple[int, int, int] = (12, 10, 6), echo_times: Sequence[float] = (0.004, 0.008), seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitude and wrapped phase (rad) of a smooth field, all voxels different: (x, y, z, echo)."""
    rng = np.random.default_rng(seed)
    x, y, z = (g / n for g, n in zip(np.indices(shape), shape, strict=True))
    frequency = 60 * (x - 0.4) + 30 * np.sin(3 * y) - 40 * z * x
    body = 400 + 900 * np.exp(-8 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)) + 300 * z + rng.uniform(0, 40, shape)
    times = np.asarray(echo_times)
    magnitude = body[..., None] * np.exp(-times * 25)
    angle = 2 * np.pi * frequency[..., None] * times + 0.7 + rng.normal(0, 0.05, (*shape, times.size))
    return magnitude, np.angle(np.exp(1j * angle))


def encode(
    vendor: Vendor, component: Component, values: NDArray
) -> tuple[NDArray[np.int64], float | None, float | None]:
    """Integers, slope and intercept with which the vendor stores magnitude, phase (rad), real, imaginary."""
    family = vendor.split("-")[0]
    phase = component in ("phase", "phasediff")
    if family == "philips":
        slope, intercept = PHILIPS_MAGNITUDE
        if component in ("real", "imaginary"):
            slope, intercept = 1.0, -2048.0
        elif component == "b0map":
            slope, intercept = PHILIPS_FIELD_MAP
        elif phase:
            (slope, intercept), values = PHILIPS_PHASE, values * 1000
        return np.clip(np.rint((values - intercept) / slope), 0, 4095).astype(int), slope, intercept
    if not phase:
        return np.rint(values).astype(int), None, None
    if family == "ge":
        return np.rint(values * 1000).astype(int), None, None
    levels = np.clip(np.floor((values + np.pi) / (2 * np.pi) * 4096), 0, 4095).astype(int)
    return (levels, *SIEMENS_PHASE) if family == "siemens" else (levels - 2048, None, None)


def volume(
    vendor: Vendor,
    component: Component,
    values: NDArray,
    *,
    echo_time: float = 0.005,
    echo_number: int = 1,
    coil: str | None = None,
) -> Volume:
    """Volume with values encoded as the vendor does."""
    stored, slope, intercept = encode(vendor, component, values)
    return Volume(stored, component, echo_time, echo_number, slope, intercept, coil)


Split = Literal["none", "parts", "echoes", "both"]


def gradient_echo(
    vendor: Vendor,
    magnitude: NDArray,
    phase: NDArray,
    echo_times: Sequence[float],
    *,
    split: Split | None = None,
    components: tuple[Component, ...] = ("magnitude", "phase"),
    alternating_sign: bool | None = None,
    coils: Sequence[str] | None = None,
    number: int = 5,
    **common: Any,
) -> list[DicomSeries]:
    """A multi-echo scan as the vendor exports it.

    Parameters
    ----------
    magnitude, phase
        (x, y, z, echo), or (x, y, z, echo, coil) with `coils`; phase in rad.
    split
        What becomes a series of its own: ``parts`` (magnitude, phase), ``echoes``, ``both`` or ``none``.
        Default: ``parts`` for Siemens, Canon and UIH, ``none`` for Philips and GE.
    components
        For instance ``("magnitude", "real", "imaginary")`` for GE.
    alternating_sign
        Change the sign of the signal in every second slice; default: as GE does, others do not. GE's phase
        has the opposite sign, too: it falls where the field is higher.
    common
        Fields of `DicomSeries`, for all series.
    """
    family = vendor.split("-")[0]
    split = split or ("none" if family in ("philips", "ge") else "parts")
    alternate = family == "ge" if alternating_sign is None else alternating_sign
    signal = magnitude * np.exp(-1j * phase if family == "ge" else 1j * phase)
    if alternate:
        signal[:, :, 1::2] *= -1
    values = {
        "magnitude": magnitude,
        "phase": np.angle(signal),
        "real": signal.real,
        "imaginary": signal.imag,
    }
    groups: dict[tuple, list[Volume]] = {}
    for index, echo_time in enumerate(echo_times):
        for component in components:
            for channel, coil in enumerate(coils or [None]):
                image = values[component][:, :, :, index]
                image = image if coils is None else image[..., channel]
                key = (
                    component if split in ("parts", "both") else None,
                    index if split in ("echoes", "both") else None,
                )
                groups.setdefault(key, []).append(
                    volume(vendor, component, image, echo_time=echo_time, echo_number=index + 1, coil=coil)
                )
    return [
        DicomSeries(vendor, tuple(volumes), number=number + i, **{"series": f"{number + i}", **common})
        for i, (_, volumes) in enumerate(sorted(groups.items(), key=str))
    ]


def phase_difference(
    vendor: Vendor, magnitude: NDArray, phase: NDArray, echo_times: Sequence[float], **common: Any
) -> list[DicomSeries]:
    """A field map: one series with two magnitudes, one with a single phase difference (Siemens, UIH)."""
    common = {"sequence": "field-map", "description": "gre_field_mapping", "acquisition_type": "2D", **common}
    number = common.pop("number", 8)
    both = tuple(
        volume(vendor, "magnitude", magnitude[..., i], echo_time=echo_times[i], echo_number=i + 1)
        for i in range(2)
    )
    difference = np.angle(np.exp(1j * (phase[..., 1] - phase[..., 0])))
    one = volume(vendor, "phasediff", difference, echo_time=echo_times[1], echo_number=2)
    return [
        DicomSeries(vendor, both, number=number, series=f"{number}", **common),
        DicomSeries(vendor, (one,), number=number + 1, series=f"{number + 1}", **common),
    ]


def field_map_in_hz(vendor: Vendor, magnitude: NDArray, field: NDArray, **common: Any) -> DicomSeries:
    """A map in Hz and its magnitude in one series (Philips)."""
    volumes = (
        volume(vendor, "magnitude", magnitude, echo_time=0.0023),
        volume(vendor, "b0map", field, echo_time=0.0023),
    )
    settings = {"description": "B0_map", "number": 12, **common}
    return DicomSeries(vendor, volumes, **settings)


def t1w(vendor: Vendor, values: NDArray, **common: Any) -> DicomSeries:
    """An MPRAGE-like series."""
    settings = {"sequence": "mprage", "description": "t1_mprage_sag", "number": 3, **common}
    return DicomSeries(vendor, (volume(vendor, "magnitude", values, echo_time=0.00298),), **settings)


def localiser(vendor: Vendor, values: NDArray, **common: Any) -> DicomSeries:
    """A 2D scout."""
    settings = {
        "sequence": "localiser",
        "description": "localizer",
        "number": 1,
        "acquisition_type": "2D",
        **common,
    }
    return DicomSeries(vendor, (volume(vendor, "magnitude", values, echo_time=0.004),), **settings)


def write_series(
    folder: Path,
    series: DicomSeries,
    *,
    name: Callable[[int], str] | None = None,
    skip: Sequence[int] = (),
    compress: bool = False,
    one_file: bool = False,
) -> list[Path]:
    """Write all files of a series.

    Parameters
    ----------
    name
        File name from the running number; default ``<series>_<number>.dcm``.
    skip
        Running numbers of files to leave out (missing slices; see `slices_of`).
    compress
        Write each file gzipped, with ``.gz`` at the end of its name.
    one_file
        Write everything into one enhanced file, whatever the vendor does.

    Returns
    -------
    list of Path
        Classic: volume by volume, slice by slice. Enhanced: one file (Siemens: one a volume).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if one_file or series.vendor == "philips-enhanced":
        datasets = [_enhanced(series, series.volumes, 1)]
    elif series.vendor == "siemens-xa":
        datasets = [_enhanced(series, (v,), i) for i, v in enumerate(series.volumes, 1)]
    else:
        n_slices = series.volumes[0].stored.shape[2]
        datasets = [
            _classic(series, v, k, 1 + i * n_slices + k)
            for i, v in enumerate(series.volumes)
            for k in range(n_slices)
        ]
    paths = []
    for index, dataset in enumerate(datasets):
        if index in skip:
            continue
        text = name(index) if name else f"{series.number:04d}_{index + 1:04d}.dcm"
        paths.append(_save(dataset, folder / (text + ".gz" * compress), compress))
    return paths


def write_all(folder: Path, series: Sequence[DicomSeries], **options: Any) -> list[Path]:
    """Write several series into one folder."""
    return [path for one in series for path in write_series(folder, one, **options)]


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file after a share of its pixel data: the header stays readable."""
    content = path.read_bytes()
    start = content.rfind(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[: start + 12 + int(share * (len(content) - start - 12))])


def duplicate(path: Path, copy: Path) -> Path:
    """Copy a file to another name: the same image twice."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return copy


def on_written_grid(image: nib.Nifti1Image, series: DicomSeries) -> NDArray[np.float64]:
    """Voxels of a converted image along the axes in which they were written: (x, y, z[, n]).

    Raises
    ------
    AssertionError
        If the image is not the same grid in space, to 0.01 voxel.
    """
    to_image = np.linalg.inv(image.affine) @ series.affine
    turn = np.rint(to_image[:3, :3]).astype(int)
    assert np.abs(to_image[:3, :3] - turn).max() < 0.01, f"axes differ: {to_image}"
    shape = np.array(series.volumes[0].stored.shape)
    grid = np.indices(shape).reshape(3, -1)
    index = to_image[:3, :3] @ grid + to_image[:3, 3:]
    nearest = np.rint(index).astype(int)
    assert np.abs(index - nearest).max() < 0.01 * max(shape), "the grid is shifted"
    size = np.array(image.shape[:3])[:, None]
    assert ((nearest >= 0) & (nearest < size)).all(), f"the image covers another region: {image.shape}"
    values = np.asarray(image.dataobj, dtype=np.float64)[tuple(nearest)]
    return values.reshape(*shape, *image.shape[3:])


def _uid(*parts: str) -> str:
    return str(generate_uid(entropy_srcs=list(parts)))


def _save(dataset: Dataset, path: Path, compress: bool) -> Path:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    content = buffer.getvalue()
    path.write_bytes(gzip.compress(content, mtime=0) if compress else content)
    return path


def _decimal(value: float) -> str:
    return np.format_float_positional(value, precision=9, trim="-")[:16]


def _geometry(series: DicomSeries) -> tuple[list[str], list[str], NDArray, NDArray]:
    """Orientation and pixel spacing as text; voxel sizes; DICOM's affine (LPS)."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ series.affine
    size = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :2] / size[:2]
    orientation = [_decimal(c) for c in cosines.T.reshape(-1)]
    return orientation, [_decimal(size[1]), _decimal(size[0])], size, lps


def _position(lps: NDArray, k: int) -> list[str]:
    return [_decimal(c) for c in (lps @ [0, 0, k, 1])[:3]]


def _common(series: DicomSeries, instance: int, sop_class: str) -> Dataset:
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = sop_class
    uid = _uid("instance", series.series_uid, str(instance))
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid
    d.SpecificCharacterSet = "ISO_IR 192"
    d.Modality = "MR"
    d.Manufacturer, d.ManufacturerModelName = _MANUFACTURER[series.vendor]
    d.InstitutionName, d.InstitutionAddress = "Example Hospital", "1 Example Street"
    d.StudyDate = d.SeriesDate = d.ContentDate = d.AcquisitionDate = series.date
    d.StudyTime = "100000"
    d.SeriesTime = d.AcquisitionTime = d.ContentTime = series.time
    d.StudyInstanceUID, d.SeriesInstanceUID = series.study_uid, series.series_uid
    d.FrameOfReferenceUID = _uid("frame", series.study_uid)
    d.StudyID, d.SeriesNumber, d.AcquisitionNumber, d.InstanceNumber = "1", series.number, 1, instance
    d.PatientID, d.PatientName = series.patient_id, series.patient_name
    d.PatientBirthDate, d.PatientSex, d.PatientAge, d.PatientWeight = (
        series.birth_date,
        series.sex,
        "043Y",
        "70",
    )
    d.SeriesDescription, d.ProtocolName = series.description, series.protocol or series.description
    d.MagneticFieldStrength = series.field_strength
    d.ImagingFrequency = _decimal(42.577478518 * series.field_strength)
    d.MRAcquisitionType, d.PatientPosition, d.BodyPartExamined = series.acquisition_type, "HFS", "BRAIN"
    d.SoftwareVersions = {
        "siemens": "syngo MR E11",
        "siemens-xa": "syngo MR XA30",
        "philips": "5.7.1",
        "philips-enhanced": "5.7.1",
        "ge": "29",
        "canon": "V6.0",
        "uih": "R002",
    }[series.vendor]
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Columns, d.Rows = series.volumes[0].stored.shape[:2]
    return d


def _pixels(d: Dataset, series: DicomSeries, stored: NDArray) -> None:
    """Pixel data of slices (x, y, n)."""
    signed = series.vendor == "ge" or bool(min(v.stored.min() for v in series.volumes) < 0)
    bits = 16 if signed else 12
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    assert low <= stored.min() and stored.max() <= high, f"values do not fit {bits} bit"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, bits, bits - 1, int(signed)
    d.PixelData = np.ascontiguousarray(stored.T).astype("<i2" if signed else "<u2").tobytes()


def _timing(d: Dataset, series: DicomSeries) -> None:
    echo_times = sorted({v.echo_time for v in series.volumes})
    scanning, variant, name, tr, flip, ti = _SEQUENCES[series.sequence]
    d.ScanningSequence, d.SequenceVariant, d.ScanOptions = scanning, variant, "PFP"
    d.SequenceName = name.format(echoes=len(echo_times))
    d.RepetitionTime, d.FlipAngle, d.EchoTrainLength = tr, flip, len(echo_times)
    if ti is not None:
        d.InversionTime = ti
    d.NumberOfAverages, d.ImagedNucleus, d.PixelBandwidth = 1, "1H", 260
    d.InPlanePhaseEncodingDirection = "ROW"
    d.AcquisitionMatrix = [0, d.Columns, d.Rows, 0]


def _image_type(series: DicomSeries, component: Component) -> list[str]:
    if series.image_type is not None:
        return list(series.image_type)
    letter = _LETTER[component]
    mixed = len({v.component for v in series.volumes}) > 1
    kinds = {
        "siemens": [letter, "ND"] if component in ("phase", "phasediff") else [letter, "ND", "NORM"],
        "siemens-xa": [letter, "NONE"],
        "philips": [{"P": "PHASE MAP", "B0": "B0 MAP"}.get(letter, f"{letter}_FFE"), letter, "FFE"],
        "philips-enhanced": ["T1", "MIXED" if mixed else letter],
        "ge": ["OTHER"],
        "canon": ["OTHER", _COMPLEX_COMPONENT[component]],
        "uih": [letter, "GRE", "NONE"],
    }
    return ["ORIGINAL", "PRIMARY", *kinds[series.vendor]]


def _classic(series: DicomSeries, v: Volume, k: int, instance: int) -> Dataset:
    d = _common(series, instance, _MR)
    _timing(d, series)
    orientation, spacing, size, lps = _geometry(series)
    d.ImageType = _image_type(series, v.component)
    d.EchoTime, d.EchoNumbers = _decimal(v.echo_time * 1000), v.echo_number
    d.ImageOrientationPatient, d.ImagePositionPatient = orientation, _position(lps, k)
    d.PixelSpacing = spacing
    d.SliceThickness = d.SpacingBetweenSlices = _decimal(size[2])
    normal = np.cross(*(lps[:3, :2] / size[:2]).T)
    d.SliceLocation = _decimal(float(normal @ (lps @ [0, 0, k, 1])[:3]))
    if v.slope is not None:
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = _decimal(v.slope), _decimal(v.intercept), "US"
    _pixels(d, series, v.stored[:, :, k])
    {"philips": _philips_tags, "ge": _ge_tags, "siemens": _siemens_tags}.get(series.vendor, _no_tags)(
        d, series, v, k
    )
    return _with_extra(d, series)


def _with_extra(d: Dataset, series: DicomSeries) -> Dataset:
    for keyword, value in series.extra.items():
        if value is not None:
            setattr(d, keyword, value)
        elif keyword in d:
            delattr(d, keyword)
    return d


def _no_tags(d: Dataset, series: DicomSeries, v: Volume, k: int) -> None:
    pass


def _siemens_tags(d: Dataset, series: DicomSeries, v: Volume, k: int) -> None:
    block = d.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0F, "LO", v.coil or "HEA;HEP")


def _ge_tags(d: Dataset, series: DicomSeries, v: Volume, k: int) -> None:
    d.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", _GE_RAW_DATA_TYPE[v.component])
    n_echoes = len({w.echo_number for w in series.volumes})
    d.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x7E, "SS", n_echoes)
    d.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", v.stored.shape[2])
    if v.coil is not None:
        d.ReceiveCoilName = v.coil


def _philips_scaling(d: Dataset, v: Volume) -> None:
    """What Philips stores beside the rescaling: the same for real world values, and its float slope."""
    unit = {"phase": "mrad", "phasediff": "mrad", "b0map": "Hz"}.get(v.component, "normalized")
    world = Dataset()
    world.RealWorldValueIntercept, world.RealWorldValueSlope = float(v.intercept or 0), float(v.slope or 1)
    world.RealWorldValueFirstValueMapped, world.RealWorldValueLastValueMapped = 0, 4095
    world.LUTExplanation, world.LUTLabel = f"Real World Value Mapping for {unit}", "Philips"
    world["RealWorldValueFirstValueMapped"].VR = world["RealWorldValueLastValueMapped"].VR = "US"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "UCUM", "no units"
    world.MeasurementUnitsCodeSequence = DicomSequence([code])
    d.RealWorldValueMappingSequence = DicomSequence([world])


def _philips_private(d: Dataset, series: DicomSeries, v: Volume, k: int) -> None:
    dd1 = d.private_block(0x2001, "Philips Imaging DD 001", create=True)
    dd1.add_new(0x0A, "IS", str(k + 1))
    dd1.add_new(0x18, "SL", v.stored.shape[2])
    mr1 = d.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    mr1.add_new(0x0D, "FL", 0.0)
    mr1.add_new(0x0E, "FL", PHILIPS_FLOAT_SLOPE.get(v.component, 1.0))
    mr1.add_new(0x11, "CS", _LETTER[v.component])


def _philips_tags(d: Dataset, series: DicomSeries, v: Volume, k: int) -> None:
    d.RescaleType = {"phase": "mrad", "phasediff": "mrad", "b0map": "Hz"}.get(v.component, "normalized")
    d.NumberOfTemporalPositions = max(w.repetition for w in series.volumes)
    d.TemporalPositionIdentifier = v.repetition
    if v.coil is not None:
        d.ReceiveCoilName = v.coil
    _philips_scaling(d, v)
    _philips_private(d, series, v, k)


def _item(**tags: Any) -> DicomSequence:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return DicomSequence([item])


def _enhanced(series: DicomSeries, volumes: Sequence[Volume], instance: int) -> Dataset:
    """One multi-frame file of all these volumes."""
    d = _common(series, instance, _ENHANCED_MR)
    for keyword in ("AcquisitionDate", "AcquisitionTime", "ImagingFrequency"):
        delattr(d, keyword)
    d.AcquisitionDateTime = series.date + series.time
    described = replace(series, volumes=tuple(volumes))
    d.ImageType = _image_type(described, volumes[0].component)
    mixed = len({v.component for v in volumes}) > 1
    d.ComplexImageComponent = "MIXED" if mixed else _COMPLEX_COMPONENT[volumes[0].component]
    d.PulseSequenceName = (
        _SEQUENCES[series.sequence][2].format(echoes=2) if series.vendor == "siemens-xa" else "T1FFE"
    )
    d.EchoPulseSequence = "SPIN" if series.sequence == "spin-echo" else "GRADIENT"
    d.PixelPresentation, d.VolumetricProperties, d.AcquisitionContrast = "MONOCHROME", "VOLUME", "T1"
    organisation = _uid("dimension", series.series_uid)
    d.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organisation)
    pointers = ((0x00209056, 0x00209111), (0x00209057, 0x00209111), (0x00189082, 0x00189114))
    d.DimensionIndexSequence = DicomSequence(
        _item(DimensionOrganizationUID=organisation, DimensionIndexPointer=p, FunctionalGroupPointer=g)[0]
        for p, g in pointers
    )
    _shared_groups(d, series)
    frames = [(v, k) for k in range(volumes[0].stored.shape[2]) for v in volumes]
    d.NumberOfFrames = len(frames)
    d.PerFrameFunctionalGroupsSequence = DicomSequence(
        _frame(series, v, k, volumes, n) for n, (v, k) in enumerate(frames, 1)
    )
    _pixels(d, series, np.stack([v.stored[:, :, k] for v, k in frames], axis=2))
    return _with_extra(d, series)


def _shared_groups(d: Dataset, series: DicomSeries) -> None:
    _, _, _, tr, flip, ti = _SEQUENCES[series.sequence]
    shared = Dataset()
    shared.MRImagingModifierSequence = _item(
        PixelBandwidth=260, TransmitterFrequency=42.577478518 * series.field_strength
    )
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=tr, FlipAngle=flip, EchoTrainLength=0, GradientEchoTrainLength=0, RFEchoTrainLength=0
    )
    if ti is not None:
        shared.MRModifierSequence = _item(InversionRecovery="YES", InversionTimes=[ti])
    shared.MRReceiveCoilSequence = _item(ReceiveCoilName="HeadNeck_64", ReceiveCoilType="MULTICOIL")
    shared.MRFOVGeometrySequence = _item(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=int(d.Rows),
        MRAcquisitionPhaseEncodingStepsInPlane=int(d.Columns),
    )
    d.SharedFunctionalGroupsSequence = DicomSequence([shared])


def _frame(series: DicomSeries, v: Volume, k: int, volumes: Sequence[Volume], number: int) -> Dataset:
    orientation, spacing, size, lps = _geometry(series)
    f = Dataset()
    f.MREchoSequence = _item(EffectiveEchoTime=v.echo_time * 1000)
    kind = _image_type(series, v.component)
    f.MRImageFrameTypeSequence = _item(
        FrameType=[*kind[:3], _LETTER[v.component]] if series.vendor == "philips-enhanced" else kind,
        ComplexImageComponent=_COMPLEX_COMPONENT[v.component],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        AcquisitionContrast="T1",
    )
    f.FrameContentSequence = _item(
        FrameAcquisitionDateTime=series.date + series.time,
        FrameReferenceDateTime=series.date + series.time,
        FrameAcquisitionDuration=1000.0,
        StackID="1",
        InStackPositionNumber=k + 1,
        TemporalPositionIndex=v.repetition,
        DimensionIndexValues=[1, k + 1, 1 + [id(w) for w in volumes].index(id(v))],
    )
    f.PlanePositionSequence = _item(ImagePositionPatient=_position(lps, k))
    f.PlaneOrientationSequence = _item(ImageOrientationPatient=orientation)
    f.PixelMeasuresSequence = _item(
        SliceThickness=_decimal(size[2]), SpacingBetweenSlices=_decimal(size[2]), PixelSpacing=spacing
    )
    f.PixelValueTransformationSequence = _item(
        RescaleIntercept=_decimal(v.intercept or 0.0), RescaleSlope=_decimal(v.slope or 1.0), RescaleType="US"
    )
    if series.vendor == "philips-enhanced":
        _philips_scaling(f, v)
        private = Dataset()
        private.ImageType = _image_type(replace(series, vendor="philips", image_type=None), v.component)
        private.EchoTime, private.EchoNumbers = _decimal(v.echo_time * 1000), v.echo_number
        private.InstanceNumber = number
        private.RescaleIntercept, private.RescaleSlope = _decimal(v.intercept or 0), _decimal(v.slope or 1)
        _philips_private(private, series, v, k)
        block = f.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", DicomSequence([private]))
    return f
