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
    space
        Template of TemplateFlow in whose space it lies (`MNI152NLin2009cAsym`); empty for a space of its own.
    """

    name: str
    t1w: Image
    labels: Image
    regions: tuple[Region, ...]
    chi: Image | None = None
    sources: tuple[str, ...] = ()
    space: str = ""

    @property
    def reference(self) -> str:
        """What images in its space are aligned with, for sidecars."""
        if not self.space:
            return f"T1w image of the atlas {self.name}"
        return f"https://templateflow.s3.amazonaws.com/tpl-{self.space}/tpl-{self.space}_res-01_T1w.nii.gz"

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Brain mask on the T1w image's grid."""
        return np.asarray(self.t1w.array > 0)
