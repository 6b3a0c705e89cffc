"""An atlas: a T1-weighted head, labels on it, what the labels mean, and where it is known a chi map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.registration import Image
from qsmxt_app.segment.regions import Region


@dataclass(frozen=True)
class Atlas:
    """What a head is labelled with.

    Attributes
    ----------
    name
        For file names and reports.
    t1w : Image
        The brain without its skull: 0 outside.
    labels : Image
        Numbers of the regions, on any grid of the same world.
    regions
        What the numbers mean.
    chi : Image, optional
        Susceptibility in ppm, on any grid of the same world.
    sources
        Where the data come from, one sentence each, with licence or paper.
    """

    name: str
    t1w: Image
    labels: Image
    regions: tuple[Region, ...]
    chi: Image | None = None
    sources: tuple[str, ...] = ()

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Brain mask on the T1w image's grid."""
        return np.asarray(self.t1w.array > 0)
