"""The frames of enhanced (multi-frame) DICOM files: functional groups.

References
----------
DICOM PS3.3, section C.7.6.16 (multi-frame functional groups) and C.8.13.5 (those of MR).
"""

from __future__ import annotations

from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from qsmxt_app.convert.dicom.component import component_of
from qsmxt_app.convert.dicom.header import Header, ImageKind, ScanParameters, Slice
from qsmxt_app.convert.dicom.reading import UnusableFile
from qsmxt_app.convert.dicom.values import integer, numbers, positive, seconds, text, time, words
from qsmxt_app.convert.dicom.vendors import Vendor, vendor_of

MAXIMUM_COIL_NAME = 64


def with_frames(header: Header, dataset: Dataset) -> Header:
    """Replace the one slice of an enhanced file's header by its frames.

    Parameters
    ----------
    header
        As `header_of` gives it, from the file's top level.
    dataset
        The file's header with its functional groups.

    Returns
    -------
    Header
        One slice for each frame; what only the frames know (repetition and inversion time, flip angle) is in
        its scan.

    Raises
    ------
    UnusableFile
        If the functional groups are missing or cannot be read.
    """
    vendor = vendor_of(header.scan.manufacturer)
    try:
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
        slices = tuple(_slice(header.slices[0], vendor, shared, frame) for frame in frames)
        scan = _scan(header.scan, shared, frames)
    except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
        raise UnusableFile("damaged: the descriptions of its frames cannot be read") from error
    if not slices or len(slices) != (integer(dataset, "NumberOfFrames") or len(slices)):
        raise UnusableFile("damaged: it does not describe each of its frames")
    return header._replace(scan=scan, slices=slices)


def _scan(scan: ScanParameters, shared: Dataset, frames: list[Dataset]) -> ScanParameters:
    first = frames[0] if frames else Dataset()
    timing = _group(first, shared, "MRTimingAndRelatedParametersSequence")
    modifier = _group(first, shared, "MRModifierSequence")
    measures = _group(first, shared, "PixelMeasuresSequence")
    inverted = modifier.get("InversionRecovery") == "YES" and "IR" not in scan.scanning_sequence
    spacing = positive(measures, "SpacingBetweenSlices")
    return replace(
        scan,
        repetition_time=seconds(timing, "RepetitionTime") or scan.repetition_time,
        flip_angle=positive(timing, "FlipAngle") or scan.flip_angle,
        inversion_time=seconds(modifier, "InversionTimes") or scan.inversion_time,
        scanning_sequence=(*scan.scanning_sequence, "IR") if inverted else scan.scanning_sequence,
        slice_thickness=positive(measures, "SliceThickness") or scan.slice_thickness,
        spacing_between_slices=spacing or scan.spacing_between_slices,
    )


def _slice(top: Slice, vendor: Vendor, shared: Dataset, frame: Dataset) -> Slice:
    content = _group(frame, shared, "FrameContentSequence")
    return Slice(
        kind=_kind(top.kind, vendor, shared, frame),
        position=numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient"),
        instance=integer(content, "InStackPositionNumber"),
        acquisition=integer(content, "FrameAcquisitionNumber"),
        temporal=integer(content, "TemporalPositionIndex"),
        acquired=time(content, "FrameAcquisitionDateTime") or top.acquired,
    )


def _kind(top: ImageKind, vendor: Vendor, shared: Dataset, frame: Dataset) -> ImageKind:
    described = _group(frame, shared, "MRImageFrameTypeSequence")
    private = _group(frame, shared, vendor.frame) if vendor.frame else Dataset()
    standard, own = words(described, "FrameType"), vendor.image_type(private)
    kinds = tuple(dict.fromkeys((*standard[:2], *own[2:], *own, *standard))) or top.image_type
    transformation = _group(frame, shared, "PixelValueTransformationSequence")
    echo = _group(frame, shared, "MREchoSequence")
    component = component_of(
        kinds,
        text(described, "ComplexImageComponent"),
        text(private, "RescaleType") or text(transformation, "RescaleType"),
        vendor.component(private),
    )
    return ImageKind(
        component=component,
        image_type=kinds,
        echo_time=seconds(echo, "EffectiveEchoTime") or seconds(private, "EchoTime") or top.echo_time,
        echo_number=integer(private, "EchoNumbers") or top.echo_number,
        inversion_time=seconds(_group(frame, shared, "MRModifierSequence"), "InversionTimes")
        or top.inversion_time,
        orientation=numbers(_group(frame, shared, "PlaneOrientationSequence"), "ImageOrientationPatient"),
        rows=top.rows,
        columns=top.columns,
        pixel_spacing=numbers(_group(frame, shared, "PixelMeasuresSequence"), "PixelSpacing"),
        coil=(vendor.coil(private) or _coil(_group(frame, shared, "MRReceiveCoilSequence")))[
            :MAXIMUM_COIL_NAME
        ],
        comments=top.comments,
    )


def _coil(group: Dataset) -> str:
    """Name of the one element that was used, else that of the coil."""
    used = [
        text(element, "MultiCoilElementName")
        for element in group.get("MultiCoilDefinitionSequence") or []
        if element.get("MultiCoilElementUsed") == "YES"
    ]
    return used[0] if len(used) == 1 and used[0] else text(group, "ReceiveCoilName")


def _group(frame: Dataset, shared: Dataset, key: int | str) -> Dataset:
    """One functional group: the frame's own, else that of all frames, else empty."""
    for owner in (frame, shared):
        element = owner.get(key) if isinstance(key, str) else getattr(owner.get(key), "value", None)
        if isinstance(element, Sequence) and element:
            found: Dataset = element[0]
            return found
    return Dataset()
