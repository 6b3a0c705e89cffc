"""Simulated scans to be scored: protocols, slabs, and the truth on their grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.person import Anatomy

DIRECTIONS = {
    "straight": (0.0, 0.0, 1.0),
    "moved": (0.0, 0.0871557, 0.9961947),
    "tilted": (0.0, 0.5, 0.8660254),
}
"""B0 in the image: along an axis, or 5 or 30 degrees from it."""
ECHOES = {1.5: (0.008, 0.008), 3.0: (0.005, 0.005), 7.0: (0.004, 0.008)}
"""First echo and time between echoes at each field strength, s."""
LABEL = "sub-01"


@dataclass(frozen=True)
class Scan:
    """One simulated scan.

    Attributes
    ----------
    seed
        Who is scanned.
    direction
        Key of `DIRECTIONS`.
    voxel_size
        mm.
    snr
        Of the first echo.
    echoes
        Their number.
    bipolar
        Whether even echoes have the opposite readout polarity.
    slices
        Slices of a slab around the deep grey nuclei, 0 for the whole head.
    anatomy
        What of a head there is: `adult` and `elderly` have veins on the brain's surface.
    field_strength
        T, one of `ECHOES`.
    """

    seed: int
    direction: str = "straight"
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    snr: float = 80.0
    echoes: int = 5
    bipolar: bool = False
    slices: int = 0
    anatomy: Anatomy = "basic"
    field_strength: float = 3.0

    @property
    def protocol(self) -> Protocol:
        first, apart = ECHOES[self.field_strength]
        times = (0.015,) if self.echoes == 1 else tuple(first + apart * i for i in range(self.echoes))
        if self.echoes > 5:
            times = tuple(round(0.004 + 0.0035 * i, 6) for i in range(self.echoes))
        return Protocol(
            voxel_size=self.voxel_size, echo_times=times, b0_direction=DIRECTIONS[self.direction],
            snr=self.snr, bipolar=self.bipolar, anatomy=self.anatomy, field_strength=self.field_strength,
        )  # fmt: skip

    @property
    def columns(self) -> dict[str, str]:
        """What a table says about it."""
        return {
            "seed": f"{self.seed}",
            "anatomy": self.anatomy,
            "B0": self.direction,
            "T": f"{self.field_strength:g}",
            "voxel": "x".join(f"{edge:g}" for edge in self.voxel_size),
            "SNR": f"{self.snr:g}",
            "echoes": f"{self.echoes}{'bipolar' if self.bipolar else ''}",
            "slices": f"{self.slices or 'all'}",
        }

    def write(self, raw: Path, truth: Path) -> None:
        """Simulate it as BIDS data, and its truth beside it."""
        write_dataset(raw, seed=self.seed, protocol=self.protocol, truth=truth)
        if self.slices:
            _cut(raw, truth, self.slices)


def _cut(raw: Path, truth: Path, slices: int) -> None:
    """Leave of all images on the scan's grid a slab around the deep grey nuclei.

    What an excitation of the whole head would give: the field of what lies outside the slab stays.
    """
    labels = np.asarray(nib.load(truth / LABEL / "anat" / f"{LABEL}_dseg.nii.gz").dataobj)
    members = [label for nucleus in DEEP_GREY_NUCLEI.values() for label in nucleus]
    centre = int(np.median(np.nonzero(np.isin(labels, members))[2]))
    first = min(max(centre - slices // 2, 0), max(labels.shape[2] - slices, 0))
    for path in sorted([*raw.rglob("*_MEGRE.nii.gz"), *truth.rglob("*.nii.gz")]):
        image = nib.load(path)
        cut = image.slicer[:, :, first : first + slices]
        nib.Nifti1Image(np.asarray(cut.dataobj), cut.affine, cut.header).to_filename(path)


def volume(folder: Path, name: str) -> NDArray:
    """Load an image of the participant from a dataset or its truth."""
    return np.asarray(nib.load(folder / LABEL / "anat" / f"{LABEL}_{name}.nii.gz").dataobj)
