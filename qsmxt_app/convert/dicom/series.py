"""Series and the 3D images (stacks of slices) that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.header import Header, ImageKind, ScanParameters, Vector

GRID_TOLERANCE = 0.1
"""Voxels by which the corners of first and last slice may differ for two images to be on one grid."""


@dataclass(frozen=True)
class Stack:
    """One 3D image: the slices of one echo, component, coil channel, geometry and repetition.

    Attributes
    ----------
    kind
        What its slices have in common.
    component
        What its numbers are; may differ from ``kind.component`` where the series told more.
    coil
        Name of the channel where the series holds several uncombined ones; None otherwise.
    repetition
        From 0, where the series repeats the same slices.
    files
        Sorted along the slices' normal; each once.
    shared
        Whether the files hold slices of other stacks too (enhanced files).
    offsets
        Positions along the normal, mm, rising. A mosaic has one.
    corner
        mm, of the first slice.
    n_slices
        Slices; those of a mosaic counted.
    acquired
        When its first slice was acquired.
    """

    kind: ImageKind
    component: Component
    coil: str | None
    repetition: int
    files: tuple[Path, ...]
    shared: bool
    offsets: Vector
    corner: Vector
    n_slices: int
    acquired: datetime | None

    @property
    def echo_time(self) -> float | None:
        """Echo time in s."""
        return self.kind.echo_time

    @property
    def echo_number(self) -> int | None:
        """Number of the echo as the header gives it."""
        return self.kind.echo_number

    @property
    def rows(self) -> int:
        """Voxels along a column."""
        return self.kind.rows

    @property
    def columns(self) -> int:
        """Voxels along a row."""
        return self.kind.columns


@dataclass(frozen=True)
class Series:
    """One DICOM series in one storage form.

    Attributes
    ----------
    key
        Short name that stays the same whenever the series is read: its number and a digest of its UID.
    header
        That of its first file.
    files
        All files, sorted, without duplicates.
    stacks
        Its 3D images: by component, echo, channel and repetition.
    incomplete
        In words, which slices are missing; empty where none are.
    """

    key: str
    header: Header
    files: tuple[Path, ...]
    stacks: tuple[Stack, ...]
    incomplete: str = ""

    @property
    def scan(self) -> ScanParameters:
        """What its files have in common."""
        return self.header.scan

    @property
    def uid(self) -> str:
        """Series instance UID."""
        return self.scan.series_uid

    @property
    def number(self) -> int:
        """Series number, 0 where it has none."""
        return self.scan.series_number or 0

    @property
    def enhanced(self) -> bool:
        """Whether its files hold many frames each."""
        return self.scan.enhanced

    @property
    def acquired(self) -> datetime | None:
        """When its first image was acquired."""
        return min((s.acquired for s in self.stacks if s.acquired), default=None)

    @property
    def components(self) -> tuple[Component, ...]:
        """Components of its stacks, each once."""
        return tuple(dict.fromkeys(stack.component for stack in self.stacks))

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Different echo times in s, rising."""
        return tuple(sorted({stack.echo_time for stack in self.stacks if stack.echo_time}))


def same_grid(one: Stack, two: Stack) -> bool:
    """Whether two images have the same matrix and lie at the same place; slices between may be missing."""
    if (one.rows, one.columns) != (two.rows, two.columns) or not same_plane(one.kind, two.kind):
        return False
    if not (one.corner and two.corner and min(len(one.offsets), len(two.offsets)) > 1):
        return (one.corner, one.n_slices) == (two.corner, two.n_slices)
    spacings = [
        float(np.median(np.diff(stack.offsets))) if len(stack.offsets) > 1 else 0.0 for stack in (one, two)
    ]
    apart = (
        np.subtract(one.corner, two.corner),
        np.subtract(one.offsets[-1], two.offsets[-1]),
        np.diff(spacings),
    )
    voxel = min((*one.kind.pixel_spacing, 1.0))
    return all(np.abs(distance).max() < GRID_TOLERANCE * voxel for distance in apart)


def same_plane(one: ImageKind, two: ImageKind) -> bool:
    """Whether slices have the same orientation and voxels of the same size."""
    pairs = ((one.orientation, two.orientation, 1e-3), (one.pixel_spacing, two.pixel_spacing, 1e-3))
    return all(len(a) == len(b) and np.allclose(a, b, rtol=0, atol=tolerance) for a, b, tolerance in pairs)
