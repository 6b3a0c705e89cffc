"""The frames of enhanced (multi-frame) DICOM files: functional groups, read with pydicom.

References
----------
DICOM PS3.3, section C.7.6.16 (multi-frame functional groups) and C.8.13.5 (those of MR).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.component import component_of
from qsmxt_app.convert.dicom.header import Header, ImageKind, Slice
from qsmxt_app.convert.dicom.reading import UnusableFile, open_dicom

_GROUPS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames"]
_SIEMENS_FRAME, _SIEMENS_IMAGE_TYPE, _SIEMENS_COIL = 0x002111FE, 0x00211175, 0x0021114F
_PHILIPS_FRAME, _PHILIPS_IMAGE_TYPE = 0x2005140F, 0x20051011


def with_frames(header: Header) -> Header:
    """Replace the one slice of an enhanced file's header by its frames.

    Parameters
    ----------
    header
        As `header_of` gives it, from the file's top level.

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
    try:
        dataset = pydicom.dcmread(
            open_dicom(Path(header.path)), stop_before_pixels=True, force=True, specific_tags=_GROUPS
        )
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
        slices = tuple(_slice(header.slices[0], shared, frame) for frame in frames)
        scan = _scan(header, shared, frames)
        n_frames = int(dataset.get("NumberOfFrames") or len(frames))
    except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
        raise UnusableFile("damaged: the descriptions of its frames cannot be read") from error
    if not slices or len(slices) != n_frames:
        raise UnusableFile("damaged: it does not describe each of its frames")
    return header._replace(scan=scan, slices=slices)


def _scan(header: Header, shared: Dataset, frames: list[Dataset]) -> Any:
    first = frames[0] if frames else Dataset()
    timing = _group(first, shared, "MRTimingAndRelatedParametersSequence")
    modifier = _group(first, shared, "MRModifierSequence")
    measures = _group(first, shared, "PixelMeasuresSequence")
    scan = header.scan
    inverted = modifier.get("InversionRecovery") == "YES" and "IR" not in scan.scanning_sequence
    return replace(
        scan,
        repetition_time=_seconds(timing.get("RepetitionTime")) or scan.repetition_time,
        flip_angle=_number(timing.get("FlipAngle")) or scan.flip_angle,
        inversion_time=_seconds(_first(modifier.get("InversionTimes"))) or scan.inversion_time,
        scanning_sequence=(*scan.scanning_sequence, "IR") if inverted else scan.scanning_sequence,
        slice_thickness=_number(measures.get("SliceThickness")) or scan.slice_thickness,
        spacing_between_slices=_number(measures.get("SpacingBetweenSlices")) or scan.spacing_between_slices,
    )


def _slice(top: Slice, shared: Dataset, frame: Dataset) -> Slice:
    content = _group(frame, shared, "FrameContentSequence")
    siemens = _private(frame, shared, _SIEMENS_FRAME)
    philips = _private(frame, shared, _PHILIPS_FRAME)
    acquired = str(content.get("FrameAcquisitionDateTime") or "") or top.acquired
    return Slice(
        kind=_kind(top.kind, shared, frame, siemens, philips),
        position=_vector(_group(frame, shared, "PlanePositionSequence").get("ImagePositionPatient")),
        instance=_whole(content.get("InStackPositionNumber")),
        acquisition=_whole(content.get("FrameAcquisitionNumber")),
        temporal=_whole(content.get("TemporalPositionIndex")),
        acquired="".join(c for c in acquired.partition("+")[0] if c in "0123456789.")[:26],
    )


def _kind(top: ImageKind, shared: Dataset, frame: Dataset, siemens: Dataset, philips: Dataset) -> ImageKind:
    frame_type = _group(frame, shared, "MRImageFrameTypeSequence")
    own = _words(_value(siemens, _SIEMENS_IMAGE_TYPE)) or _words(philips.get("ImageType"))
    words = tuple(dict.fromkeys((*_words(frame_type.get("FrameType"))[:2], *own[2:], *own)))
    words = tuple(dict.fromkeys((*words, *_words(frame_type.get("FrameType")))))
    transformation = _group(frame, shared, "PixelValueTransformationSequence")
    measures = _group(frame, shared, "PixelMeasuresSequence")
    echo = _group(frame, shared, "MREchoSequence").get("EffectiveEchoTime")
    inversion = _first(_group(frame, shared, "MRModifierSequence").get("InversionTimes"))
    return ImageKind(
        component=component_of(
            "SIEMENS" if siemens else "PHILIPS" if philips else "",
            words or top.image_type,
            str(frame_type.get("ComplexImageComponent") or ""),
            str(philips.get("RescaleType") or transformation.get("RescaleType") or ""),
            philips_type=str(_value(philips, _PHILIPS_IMAGE_TYPE) or ""),
        ),
        image_type=words or top.image_type,
        echo_time=_seconds(_first(echo)) or _seconds(philips.get("EchoTime")) or top.echo_time,
        echo_number=_whole(_first(philips.get("EchoNumbers"))) or top.echo_number,
        inversion_time=_seconds(inversion) or top.inversion_time,
        orientation=_vector(_group(frame, shared, "PlaneOrientationSequence").get("ImageOrientationPatient")),
        rows=top.rows,
        columns=top.columns,
        pixel_spacing=_vector(measures.get("PixelSpacing")),
        coil=_coil(_group(frame, shared, "MRReceiveCoilSequence"), siemens),
        comments=top.comments,
    )


def _coil(group: Dataset, siemens: Dataset) -> str:
    used = [
        str(element.get("MultiCoilElementName") or "")
        for element in group.get("MultiCoilDefinitionSequence") or []
        if element.get("MultiCoilElementUsed") == "YES"
    ]
    own = _value(siemens, _SIEMENS_COIL)
    if own:
        return str(own)[:64]
    return (used[0] if len(used) == 1 and used[0] else str(group.get("ReceiveCoilName") or ""))[:64]


def _group(frame: Dataset, shared: Dataset, keyword: str) -> Dataset:
    """One functional group: the frame's own, else that of all frames, else empty."""
    items = frame.get(keyword) or shared.get(keyword)
    return items[0] if items else Dataset()


def _private(frame: Dataset, shared: Dataset, tag: int) -> Dataset:
    for owner in (frame, shared):
        element = owner.get(tag)
        if element is not None and element.VR == "SQ" and element.value:
            found: Dataset = element.value[0]
            return found
    return Dataset()


def _value(dataset: Dataset, tag: int) -> Any:
    element = dataset.get(tag)
    return None if element is None else element.value


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | pydicom.multival.MultiValue) and value else value


def _words(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else list(value or [])
    return tuple(" ".join("".join(c for c in str(v) if c.isprintable()).split()).upper()[:64] for v in values)


def _vector(value: Any) -> tuple[float, ...]:
    try:
        vector = tuple(float(v) for v in value or ())
    except (TypeError, ValueError):
        return ()
    return vector if all(map(math.isfinite, vector)) else ()


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _seconds(milliseconds: Any) -> float | None:
    number = _number(milliseconds)
    return None if number is None else number / 1000


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
