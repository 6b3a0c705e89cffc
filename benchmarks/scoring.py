"""Score a susceptibility map against the truth of a digital subject.

Everything is scored over the whole true brain mask: voxels that a method dropped count as zero, so that
eroding the mask is no way to win. NRMSE, XSIM and HFEN are those of the QSM-CI challenge
(``qsm_ci.qsm_eval``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qsm_ci.qsm_eval import hfen, nrmse_challenge, xsim
from scipy import ndimage


@dataclass(frozen=True)
class Score:
    """Agreement of a map with the truth; fractions and ppm."""

    nrmse: float
    """Demeaned root-mean-square error over the norm of the demeaned truth, in %."""
    xsim: float
    hfen: float
    rim_nrmse: float
    """NRMSE of the outermost two voxel layers of the brain, in %."""
    coverage: float
    """Share of the true brain that the map covers."""
    deep_grey_slope: float
    vein_recovery: float
    """Mean of the map over that of the truth in veins below the outermost layer; NaN without."""
    deep_grey_bias: Mapping[str, float]
    """Mean of map minus truth in each nucleus, in ppm, both relative to their mean over the brain."""

    @property
    def worst_bias(self) -> float:
        """Largest absolute bias of a deep grey nucleus, in ppm."""
        return max((abs(v) for v in self.deep_grey_bias.values()), default=float("nan"))


def score(
    chi: NDArray[np.floating],
    truth: NDArray[np.floating],
    brain: NDArray[np.bool_],
    labels: NDArray[np.integer],
    nuclei: Mapping[str, Sequence[int]],
    covered: NDArray[np.bool_],
    vein: int | None = None,
) -> Score:
    """Compare a map with the truth over the whole brain.

    Parameters
    ----------
    chi, truth : ndarray (x, y, z)
        ppm.
    brain : ndarray of bool (x, y, z)
        The true brain mask.
    labels : ndarray of int (x, y, z)
        True labels.
    nuclei
        Deep grey nuclei, each with the labels that make it up.
    covered : ndarray of bool (x, y, z)
        Voxels in which the map has a value; elsewhere it counts as zero.
    vein
        Label of veins.
    """
    inside = brain & covered
    recon = np.where(inside, chi, 0.0).astype(np.float64)
    # Dropped voxels are zero on the map's own scale, on which the mean over its mask is zero.
    recon[inside] -= recon[inside].mean()
    true = np.where(brain, truth, 0.0).astype(np.float64)
    true[brain] -= true[brain].mean()
    depth = ndimage.distance_transform_cdt(brain, metric="taxicab")
    rim = brain & (depth <= 2)
    veins = (labels == vein) & (depth > 1)
    recon_means = {name: recon[region].mean() for name, region in _regions(labels, nuclei, brain)}
    true_means = {name: true[region].mean() for name, region in _regions(labels, nuclei, brain)}
    slope = np.polyfit(list(true_means.values()), list(recon_means.values()), 1)[0] if true_means else np.nan
    return Score(
        nrmse=nrmse_challenge(recon, true, brain)[0],
        xsim=xsim(recon, true, brain),
        hfen=hfen(recon, true, brain),
        rim_nrmse=100 * float(np.linalg.norm(recon[rim] - true[rim]) / np.linalg.norm(true[rim])),
        coverage=float(inside.sum() / brain.sum()),
        deep_grey_slope=float(slope),
        vein_recovery=float(recon[veins].mean() / true[veins].mean()) if veins.any() else float("nan"),
        deep_grey_bias={name: float(recon_means[name] - true_means[name]) for name in true_means},
    )


def _regions(labels, nuclei, brain):
    for name, members in nuclei.items():
        region = np.isin(labels, list(members)) & brain
        if region.sum() >= 5:
            yield name, region
