"""A map as a series of DICOM MR images, which a PACS takes, in the study of its scan."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from qsmxt_app import __version__
from qsmxt_app.arrays import FloatArray
from qsmxt_app.bids.atomic import atomic_file, make_folder
from qsmxt_app.convert.dicom.find import list_files
from qsmxt_app.convert.dicom.reading import UnusableFile, read_dataset, without_warnings
from qsmxt_app.errors import NoInput, UnusableData

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST = 32767
_LONGEST = 64
_RIGHT_ANGLES = 1e-3
_TEXTS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "StudyDate",
    "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "Manufacturer",
    "InstitutionName", "ManufacturerModelName", "MagneticFieldStrength", "BodyPartExamined",
    "PatientPosition",
)  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# which must be there, and may be empty
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "ScanOptions",
    "EchoTime", "EchoTrainLength", "RepetitionTime",
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """What a map holds, as DICOM tells it.

    Attributes
    ----------
    title
        Of the series.
    units, code
        In words, and as UCUM has them.
    factor
        By what the values of the file are multiplied.
    step
        Finest difference that is stored; larger where the values are.
    window
        Middle and width in which a viewer shows it.
    """

    title: str
    units: str
    code: str
    factor: float
    step: float
    window: tuple[float, float]


QUANTITIES = {
    "chi": Quantity("QSM susceptibility (ppb)", "parts per billion", "[ppb]", 1e3, 0.1, (0, 400)),
    "r2star": Quantity("R2* (1/s)", "per second", "/s", 1.0, 0.01, (30, 60)),
    "swi": Quantity("Susceptibility-weighted image", "no units", "1", 1.0, 0.0, (0, 0)),
}


def read_source(folder: Path) -> Dataset:
    """Read patient, study and frame of reference from the DICOM files of a scan.

    Parameters
    ----------
    folder
        With the files of one study.

    Returns
    -------
    pydicom.Dataset
        Cleaned: texts without control characters and not too long, identifiers only where they are valid.

    Raises
    ------
    NoInput
        There is no DICOM image.
    UnusableData
        The files are of several studies.
    """
    tags = [Tag(name) for name in (*_TEXTS, *_UIDS, "SpecificCharacterSet", "SOPClassUID")]
    found: dict[str, Dataset] = {}
    for name in list_files(folder)[0]:
        try:
            with without_warnings():
                one = _cleaned(read_dataset(name, tags))
        except (UnusableFile, OSError):
            continue
        found.setdefault(str(one.get("StudyInstanceUID", "")), one)
    if not found:
        raise NoInput(f"{folder}: no DICOM images.", "Give the folder of the scan that the map was made of.")
    if len(found) > 1:
        raise UnusableData(f"{folder}: images of {len(found)} studies.", "Give the folder of one scan.")
    return next(iter(found.values()))


def write_series(
    values: FloatArray,
    affine: NDArray[np.float64],
    folder: Path,
    quantity: Quantity,
    source: Dataset | None = None,
) -> list[Path]:
    """Write a map as DICOM MR images, one a slice along its third axis.

    Parameters
    ----------
    values : ndarray (x, y, z)
        In the units of the map's file; voxels that are no number become 0.
    affine : ndarray (4, 4)
        Voxel indices to mm, as NIfTI has them. The images lie exactly there; rows and columns run so that
        viewers show them the usual way up.
    folder
        Where the files go; made where it is not there.
    quantity
        What the values are.
    source
        From `read_source`; None makes a study of its own, of nobody.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of the slices. The same map gives the same identifiers, another one others.

    Raises
    ------
    UnusableData
        The axes do not stand at right angles, which DICOM cannot tell.
    """
    stored, slope = _stored(values, quantity)
    stored, lps = _upright(stored, _LPS @ affine)
    digest = hashlib.sha256(stored.tobytes() + lps.tobytes() + quantity.title.encode()).hexdigest()
    common = _common(quantity, slope, source, digest, stored.shape)
    make_folder(folder)
    written = []
    for index, dataset in _slices(common, stored, lps, digest):
        path = folder / f"{index + 1:04d}.dcm"
        with atomic_file(path) as stream:
            dataset.save_as(stream, enforce_file_format=True)
        written.append(path)
    return written


def _cleaned(read: Dataset) -> Dataset:
    clean = Dataset()
    for name in _TEXTS:
        value = read.get(name)
        text = "".join(letter for letter in str(value or "") if letter.isprintable() and letter != "\\")
        if text and len(text) <= _LONGEST:
            _set(clean, name, text)
    for name in _UIDS:
        if (uid := UID(str(read.get(name) or ""))).is_valid:
            setattr(clean, name, uid)
    return clean


def _set(dataset: Dataset, name: str, text: str) -> None:
    """Set an element, if pydicom takes the text for what the standard allows there."""
    try:
        element = DataElement(Tag(name), dictionary_VR(Tag(name)), text, validation_mode=RAISE)
    except (ValueError, TypeError):
        return
    dataset.add(element)


def _stored(values: FloatArray, quantity: Quantity) -> tuple[NDArray[np.int16], float]:
    """Return whole numbers, and the slope that makes values of them."""
    finite = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0) * quantity.factor
    needed = float(np.abs(finite).max(initial=0)) / _LARGEST
    slope = float(f"{max(quantity.step, needed * 1.0001) or 1.0:.6g}")  # a decimal string has 16 letters
    return np.rint(finite / slope).astype(np.int16), slope


def _upright(
    stored: NDArray[np.int16], lps: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Turn rows and columns so that they run to the left, the back, or down."""
    axes = lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=_RIGHT_ANGLES):
        raise UnusableData("The axes of the map are not at right angles.", "Resample it first.")
    lps = lps.copy()
    for axis in (0, 1):
        main = int(np.argmax(np.abs(axes[:, axis])))
        if (axes[main, axis] > 0) == (main == 2):
            stored = np.flip(stored, axis)
            lps[:3, 3] += lps[:3, axis] * (stored.shape[axis] - 1)
            lps[:3, axis] *= -1
    return np.ascontiguousarray(stored), lps


def _common(
    quantity: Quantity, slope: float, source: Dataset | None, digest: str, shape: tuple[int, ...]
) -> Dataset:
    """Return what all images of a series share."""
    dataset = copy.deepcopy(source) if source else Dataset()
    for name in (name for name in _MAY_BE_EMPTY if name not in dataset):
        setattr(dataset, name, None)
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if name not in dataset:
            setattr(dataset, name, generate_uid(entropy_srcs=[digest, name]))
    seed = [digest, str(dataset.StudyInstanceUID), str(dataset.get("SeriesInstanceUID", ""))]
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[*seed, "series"])
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.SeriesDescription, dataset.SeriesNumber = quantity.title, 9000 + len(quantity.title)
    dataset.DerivationDescription = f"{quantity.title}, computed by qsmxt"
    dataset.SoftwareVersions = f"qsmxt {__version__}"[:_LONGEST]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = "GR", "NONE", "3D"
    dataset.BurnedInAnnotation = "NO"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape[1], shape[0]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, slope, "US"
    dataset.WindowCenter, dataset.WindowWidth = quantity.window
    if not quantity.window[1]:
        dataset.WindowCenter, dataset.WindowWidth = slope * _LARGEST / 2, slope * _LARGEST
    dataset.RealWorldValueMappingSequence = [_real_world(quantity, slope)]
    return dataset


def _real_world(quantity: Quantity, slope: float) -> Dataset:
    """Return what the stored numbers mean, with units of UCUM."""
    units = Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = quantity.code, "UCUM", quantity.units
    mapping = Dataset()
    mapping.LUTExplanation, mapping.LUTLabel = quantity.title, quantity.title[:16]
    mapping.MeasurementUnitsCodeSequence = [units]
    for name, number in (("First", -_LARGEST), ("Last", _LARGEST)):
        mapping.add_new(Tag(f"RealWorldValue{name}ValueMapped"), "SS", number)
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, slope
    return mapping


def _slices(
    common: Dataset, stored: NDArray[np.int16], lps: NDArray[np.float64], digest: str
) -> Iterator[tuple[int, Dataset]]:
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / sizes
    for index in range(stored.shape[2]):
        dataset = Dataset()
        dataset.update(common)
        dataset.SOPInstanceUID = generate_uid(
            entropy_srcs=[str(common.SeriesInstanceUID), digest, str(index)]
        )
        dataset.InstanceNumber = index + 1
        dataset.ImageOrientationPatient = _decimals([*axes[:, 0], *axes[:, 1]])
        dataset.ImagePositionPatient = _decimals(lps[:3, 3] + index * lps[:3, 2])
        dataset.PixelSpacing = _decimals([sizes[1], sizes[0]])
        dataset.SliceThickness, dataset.SpacingBetweenSlices = _decimals([sizes[2], sizes[2]])
        dataset.PixelData = stored[:, :, index].T.astype("<i2").tobytes()
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, dataset.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta = meta
        yield index, dataset


def _decimals(numbers: Any) -> list[str]:
    """Write numbers in the 16 letters that DICOM allows."""
    return [f"{number + 0.0:.10g}"[:16] if abs(number) >= 1e-4 else f"{number:.9f}" for number in numbers]
