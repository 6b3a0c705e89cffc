"""From stacks to one NIfTI image each, checked against what the headers say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray

from qsmxt_app.bids.headers import parse_header
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.converter import (
    Conversion,
    ConversionFailed,
    Output,
    is_resampled,
    run_converter,
)
from qsmxt_app.convert.dicom.phase_scaling import phase_scaling
from qsmxt_app.convert.dicom.reading import open_dicom
from qsmxt_app.convert.dicom.separating import separate_frames
from qsmxt_app.convert.dicom.series import Stack
from qsmxt_app.convert.dicom.vendors import PhaseScaling, StoredPhase

SAME_ECHO = 2e-5
"""s by which two echo times may differ and be the same echo: the converter rounds."""
# how the converter marks what it has no name for, or other names
_MARKED: dict[Component, set[Component]] = {
    "phasediff": {"phase"},
    "b0map": {"b0map", "real"},
    "unknown": {"magnitude"},
}


@dataclass(frozen=True)
class Volume:
    """One 3D image of the plan, converted.

    Attributes
    ----------
    stack
        Where it comes from.
    path
        Uncompressed NIfTI, which may hold other volumes too.
    index
        Which volume of the file it is; None where the file holds only one.
    sidecar
        What the converter wrote beside it.
    """

    stack: Stack
    path: Path
    index: int | None
    sidecar: dict[str, Any]

    @cached_property
    def header(self) -> nib.nifti1.Nifti1Header:
        """Header of the file, as it is on disk."""
        return parse_header(self.path)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel indices to mm."""
        return np.asarray(nib.nifti1.load(self.path).affine)

    @cached_property
    def rescaling(self) -> tuple[float, float]:
        """Slope and intercept of the file."""
        slope, intercept = self.header.get_slope_inter()
        return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)

    @cached_property
    def phase_scaling(self) -> PhaseScaling:
        """How the stored values become radians."""
        header = _dicom_header(self.stack.files[0])
        stored = self.stored()
        return phase_scaling(
            StoredPhase(
                manufacturer=str(header.get("Manufacturer") or ""),
                bits=int(header.get("BitsStored") or 16),
                signed=bool(header.get("PixelRepresentation")),
                slope=self.rescaling[0],
                intercept=self.rescaling[1],
                lowest=float(stored.min()),
                highest=float(stored.max()),
                integers=stored.dtype.kind in "iu",
            )
        )

    def stored(self) -> NDArray:
        """Stored values (x, y, z), without slope and intercept."""
        stored = np.asarray(nib.nifti1.load(self.path).dataobj.get_unscaled())
        stored = stored if self.index is None else stored[..., self.index]
        return stored.reshape(stored.shape[:3])

    def values(self) -> NDArray[np.float32]:
        """Values (x, y, z), with slope and intercept."""
        slope, intercept = self.rescaling
        return np.asarray(self.stored() * np.float32(slope) + np.float32(intercept), dtype=np.float32)

    def write(self, target: Path, rescaling: tuple[float, float] | None = None) -> None:
        """Write the volume alone, stored values as they are, with another slope and intercept if given."""
        slope, intercept = rescaling or self.rescaling
        header = self.header.copy()
        size = int(np.prod(header.get_data_shape()[:3])) * header.get_data_dtype().itemsize
        header.set_data_shape(header.get_data_shape()[:3])
        header.set_slope_inter(slope, intercept)
        header.extensions.clear()
        start, header["vox_offset"] = int(header["vox_offset"]), header.single_vox_offset
        stored = np.memmap(
            self.path, dtype=np.uint8, mode="r", offset=start + (self.index or 0) * size, shape=(size,)
        )
        with target.open("xb") as copy:
            header.write_to(copy)
            copy.write(b"\0" * (header.single_vox_offset - copy.tell()))
            stored.tofile(copy)


def convert_stack(stack: Stack, folder: Path, *, may_have_gaps: bool = False) -> Volume:
    """Convert a stack whose files hold nothing else.

    Parameters
    ----------
    stack
        One 3D image.
    folder
        Does not exist yet.
    may_have_gaps
        Whether it is known that slices are missing.

    Raises
    ------
    ConversionFailed
        If it cannot be converted, or does not become one image with the headers' voxels.
    """
    conversion = run_converter(stack.files, folder, one_image=True)
    outputs = [output for output in conversion.outputs if not is_resampled(output)]
    if len(outputs) != 1 or (len(outputs) < len(conversion.outputs) and not may_have_gaps):
        raise _unexpected(stack, conversion, f"became {len(conversion.outputs)} images instead of one")
    return _checked(stack, outputs[0], None, conversion)


def convert_shared(stacks: Sequence[Stack], folder: Path) -> list[Volume]:
    """Convert files that hold several stacks (enhanced DICOM).

    The converter's images are distinguished by echo time and component. Where that fails, each stack's frames
    are converted on their own.

    Parameters
    ----------
    stacks
        All that the files hold.
    folder
        Does not exist yet.

    Returns
    -------
    list of Volume
        One for each stack.

    Raises
    ------
    ConversionFailed
        If an image cannot be told to belong to one stack and no other.
    """
    try:
        return _convert_together(stacks, folder / "together")
    except ConversionFailed as failure:
        try:
            paths = separate_frames(stacks, folder / "frames")
            return [
                replace(convert_stack(replace(stack, files=(path,)), folder / path.stem), stack=stack)
                for stack, path in zip(stacks, paths, strict=True)
            ]
        except ConversionFailed:
            raise failure from None


def _convert_together(stacks: Sequence[Stack], folder: Path) -> list[Volume]:
    conversion = run_converter(stacks[0].files, folder, one_image=False)
    volumes: dict[int, Volume] = {}
    for output in conversion.outputs:
        found = [number for number, stack in enumerate(stacks) if _fits(stack, output)]
        shape = output.shape
        n_volumes = shape[3] if len(shape) > 3 else 1
        if len(found) != n_volumes or volumes.keys() & set(found):
            described = f"{output.component} image of echo time {output.echo_time} s"
            reason = f"dcm2niix made {n_volumes} volumes of a {described}, the headers describe {len(found)}"
            raise _unexpected(stacks[0], conversion, reason)
        found.sort(key=lambda number: (stacks[number].repetition, stacks[number].coil or ""))
        for index, number in enumerate(found):
            volumes[number] = _checked(stacks[number], output, index if n_volumes > 1 else None, conversion)
    lost = [stack for number, stack in enumerate(stacks) if number not in volumes]
    if lost:
        described = ", ".join(f"{stack.component} of echo time {stack.echo_time} s" for stack in lost)
        raise _unexpected(lost[0], conversion, f"dcm2niix made no image of the {described}")
    return [volumes[number] for number in range(len(stacks))]


def _fits(stack: Stack, output: Output) -> bool:
    if output.component not in _MARKED.get(stack.component, {stack.component}):
        return False
    if stack.echo_time is None or output.echo_time is None:
        return True
    return abs(stack.echo_time - output.echo_time) < SAME_ECHO


def _checked(stack: Stack, output: Output, index: int | None, conversion: Conversion) -> Volume:
    shape = output.shape
    expected = (stack.columns, stack.rows, stack.n_slices)
    is_mosaic = len(stack.files) == 1 and stack.n_slices > 1 and not stack.shared and len(stack.offsets) == 1
    same = shape[2] == stack.n_slices if is_mosaic else shape[:3] == expected
    if not same or (len(shape) > 3 and index is None and shape[3] > 1):
        sizes = " x ".join(map(str, shape)), " x ".join(map(str, expected))
        raise _unexpected(stack, conversion, f"became {sizes[0]} voxels where the headers say {sizes[1]}")
    return Volume(stack, output.path, index, output.sidecar)


def _unexpected(stack: Stack, conversion: Conversion, reason: str) -> ConversionFailed:
    said = f" (dcm2niix: {'; '.join(conversion.warnings)})" if conversion.warnings else ""
    return ConversionFailed(f"{stack.files[0]}: {reason}{said}")


def _dicom_header(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(
            open_dicom(path),
            force=True,
            specific_tags=["Manufacturer", "BitsStored", "PixelRepresentation"],
        )
