"""One image that is ready to be named: what every kind of input becomes before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Suffix = Literal[
    "MEGRE",
    "T2starw",
    "T1w",
    "UNIT1",
    "MP2RAGE",
    "phasediff",
    "phase1",
    "phase2",
    "magnitude",
    "magnitude1",
    "magnitude2",
    "fieldmap",
]
Datatype = Literal["anat", "fmap"]
Part = Literal["mag", "phase", "real", "imag"]

ANATOMICAL = frozenset({"MEGRE", "T2starw", "T1w", "UNIT1", "MP2RAGE"})


@dataclass(frozen=True)
class ConvertedImage:
    """A NIfTI image in a work folder, and what is known of it.

    Attributes
    ----------
    path
        The image, ``.nii`` or ``.nii.gz``. It is copied into the dataset.
    sidecar
        Metadata with the names of BIDS, as the converter or the user gave them. What may not be published is
        taken out when it is written.
    subject, session
        Legal labels, without ``sub-`` and ``ses-``.
    suffix
        Kind of image.
    group
        Images with the same group form one acquisition and get the same name but for echo, part and suffix.
        It must be the same whenever the same data are converted again (a series' UID, a path), because it is
        how an image keeps its name.
    origin
        Series or file that it comes from, for tables and messages.
    acquisition, reconstruction
        Legal labels that describe the images; they enter the name only where they distinguish images.
    echo
        Number of the echo, from 1, of a multi-echo acquisition.
    part
        Magnitude and phase, or real and imaginary part; None for any other image.
    inversion
        Number of the inversion, from 1, of an MP2RAGE image.
    acquired
        When its acquisition began.
    run
        Number that the user gave to the run; None to count where it is needed.
    """

    path: Path
    sidecar: Mapping[str, Any]
    subject: str
    session: str | None
    suffix: Suffix
    group: str
    origin: str
    acquisition: str | None = None
    reconstruction: str | None = None
    echo: int | None = None
    part: Part | None = None
    inversion: int | None = None
    acquired: datetime | None = field(default=None, compare=False)
    run: int | None = None

    @property
    def datatype(self) -> Datatype:
        """Folder of the dataset that the image belongs in."""
        return "anat" if self.suffix in ANATOMICAL else "fmap"
