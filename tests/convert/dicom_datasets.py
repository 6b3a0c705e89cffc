"""Data sets of single DICOM files in the header styles of scanners: classic, mosaic and enhanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dicom_series import PHILIPS_FLOAT_SLOPE, Component, DicomSeries, Volume, stable_uid
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

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
    uid = stable_uid("instance", series.series_uid, str(instance))
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid
    d.SpecificCharacterSet = "ISO_IR 192"
    d.Modality = "MR"
    d.Manufacturer, d.ManufacturerModelName = _MANUFACTURER[series.vendor]
    d.InstitutionName, d.InstitutionAddress = "Example Hospital", "1 Example Street"
    d.StudyDate = d.SeriesDate = d.ContentDate = d.AcquisitionDate = series.date
    d.StudyTime = "100000"
    d.SeriesTime = d.AcquisitionTime = d.ContentTime = series.time
    d.StudyInstanceUID, d.SeriesInstanceUID = series.study_uid, series.series_uid
    d.FrameOfReferenceUID = stable_uid("frame", series.study_uid)
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


def classic_dataset(series: DicomSeries, v: Volume, k: int, instance: int) -> Dataset:
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


def mosaic_dataset(series: DicomSeries, v: Volume, instance: int) -> Dataset:
    """All slices of a volume side by side in one image, as Siemens stores echo-planar volumes."""
    nx, ny, nz = v.stored.shape
    side = int(np.ceil(np.sqrt(nz)))
    tiles = np.zeros((nx * side, ny * side, 1), dtype=v.stored.dtype)
    for k in range(nz):
        x, y = k % side * nx, k // side * ny
        tiles[x : x + nx, y : y + ny, 0] = v.stored[:, :, k]
    affine = series.affine.copy()  # the whole mosaic has the centre of a slice
    affine[:3, 3] -= affine[:3, :2] @ [(side - 1) * nx / 2, (side - 1) * ny / 2]
    whole = replace(v, stored=tiles)
    kind = (*_image_type(series, v.component), "MOSAIC")
    d = classic_dataset(replace(series, volumes=(whole,), affine=affine, image_type=kind), whole, 0, instance)
    d.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", nz)
    return d


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


def enhanced_dataset(series: DicomSeries, volumes: Sequence[Volume], instance: int) -> Dataset:
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
    organisation = stable_uid("dimension", series.series_uid)
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
