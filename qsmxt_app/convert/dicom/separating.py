"""Enhanced files that the converter merges into one image: the frames of each image in a separate file."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from qsmxt_app.convert.dicom.converter import ConversionFailed
from qsmxt_app.convert.dicom.find import read_file
from qsmxt_app.convert.dicom.header import Header, Slice
from qsmxt_app.convert.dicom.reading import open_dicom
from qsmxt_app.convert.dicom.series import Stack


def separate_frames(stacks: Sequence[Stack], folder: Path) -> list[Path]:
    """Write the frames of each stack into an enhanced file of its own.

    Parameters
    ----------
    stacks
        All images of one file.
    folder
        Does not exist yet.

    Returns
    -------
    list of Path
        One for each stack.

    Raises
    ------
    ConversionFailed
        If the stacks are not in one file, the file cannot be read, or frames belong to no stack.
    """
    source = stacks[0].files[0]
    if any(stack.files != (source,) for stack in stacks):
        raise ConversionFailed(f"{source}: its frames belong to images of which other files hold frames too")
    header = read_file(str(source))
    if not isinstance(header, Header):
        raise ConversionFailed(f"{source}: {header.reason}")
    frames = [_frames_of(stack, header.slices) for stack in stacks]
    if sorted(index for one in frames for index in one) != list(range(len(header.slices))):
        raise ConversionFailed(f"{source}: its frames cannot be distinguished")
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.dcm" for number in range(len(stacks))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _write(source, frames, paths)
    except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
        raise ConversionFailed(f"{source}: cannot be read ({error})") from error
    return paths


def _frames_of(stack: Stack, slices: Sequence[Slice]) -> list[int]:
    """Numbers of the frames of a stack, along the slices' normal."""
    wanted = _identity(stack.kind)
    same = [index for index, one in enumerate(slices) if _identity(one.kind) == wanted]
    same.sort(key=lambda i: (slices[i].temporal or 0, slices[i].acquisition or 0, slices[i].acquired, i))
    times: Counter[float] = Counter()
    found = []
    for index in same:
        place = round(_offset(slices[index]), 2)
        if times[place] == stack.repetition:
            found.append(index)
        times[place] += 1
    return sorted(found, key=lambda index: _offset(slices[index]))


def _identity(kind: object) -> tuple[object, ...]:
    names = ("component", "echo_time", "echo_number", "inversion_time", "coil", "rows", "columns")
    return tuple(getattr(kind, name) for name in names)


def _offset(one: Slice) -> float:
    orientation = one.kind.orientation
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), one.position))


def _write(source: Path, frames: Sequence[Sequence[int]], paths: Sequence[Path]) -> None:
    dataset = pydicom.dcmread(open_dicom(source), force=True)
    pixels = dataset.pixel_array  # (frame, row, column)
    descriptions = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    for chosen, path in zip(frames, paths, strict=True):
        stored = pixels[list(chosen)]
        dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.NumberOfFrames = len(chosen)
        dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(descriptions[i] for i in chosen)
        for place, index in enumerate(chosen, 1):
            content = descriptions[index].FrameContentSequence[0]
            content.InStackPositionNumber = place
            content.TemporalPositionIndex = 1
            content.DimensionIndexValues = [1, place]
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
