"""Regularisation strength, and the weight of each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import FIELD_MODEL_ERROR
from qsmxt_app.qsm.tgv.layout import mean_edge

REFERENCE_RAD_PER_PPM = 2 * np.pi * 0.020 * 42.577478518 * 3.0
"""Phase per ppm at 3 T and 20 ms, for which the published alphas are meant: they weigh phase in rad against
chi in rad."""


@dataclass(frozen=True)
class TGVOptions:
    """Settings of :func:`~qsmxt_app.qsm.tgv.solve_tgv`.

    Attributes
    ----------
    alpha
        Weights (alpha1, alpha0) of the first and second order term, for phase in rad at 3 T and 20 ms and
        lengths in mm. The published pair, 0.0015 and 0.0005, is in the other order: its ratio is that of the
        defaults. With a noise map they are those at ``calibration_noise`` and ``calibration_edge`` (see
        :func:`scaled_alpha`).
    max_iterations
        Where to stop when the criterion is not met.
    tolerance
        Root mean square change of chi over ``check_every`` iterations, over its standard deviation.
    equation_tolerance
        Norm of the field equation's residual over the norm of the measured Laplacian.
    check_every
        Iterations between checks; the criterion must hold twice in a row.
    relaxation
        Over-relaxation, 1 (none) to less than 2.
    extend
        Whether noise and susceptibility also live on the voxels next to the mask, which the equation at its
        rim refers to. False gives the published functional, in which these voxels hold neither noise nor
        susceptibility.
    rim_alpha
        Factor on both alphas at the voxels next to the mask: large, because what is not tissue there belongs
        to the sparse term of the equation.
    slack
        Price, in units of alpha1, of a non-tissue source in the mask's outermost layer, the next,
        and so on, at ``calibration_edge`` (see :func:`scaled_slack`). Voxels at the rim hold some bone or
        air, whose field is not that of tissue and whose Laplacian is tens of times larger. Empty for none.
    tissue_noise
        Noise in ppm up to which signal tells where such sources may lie, and from which on it is ignored (see
        :func:`tissue_factors`).
    returned_share
        How much of the smoothed residual is given back to the data in noise (see :func:`returned_share`).
    returned_noise
        Noise times voxel edge, in ppm mm: none up to the first, all of that share from the second to the
        third, and none from the fourth on.
    weight_floor, weight_ceiling
        Bounds of a voxel's weight relative to the median in the mask.
    calibration_noise
        Median noise in ppm at which ``alpha`` is right as it stands.
    calibration_edge
        Voxel edge in mm at which it is.
    model_error
        Noise in ppm that no magnitude predicts (discretisation, motion, flow): a floor of the noise that
        sets alpha.
    """

    alpha: tuple[float, float] = (0.0015, 0.0045)
    max_iterations: int = 1000
    tolerance: float = 0.05
    equation_tolerance: float = 0.01
    check_every: int = 25
    relaxation: float = 1.9
    extend: bool = True
    rim_alpha: float = 100.0
    slack: tuple[float, ...] = (0.4, 4.0, 12.0)
    tissue_noise: tuple[float, float] = (0.003, 0.006)
    returned_share: float = 1.0
    returned_noise: tuple[float, float, float, float] = (0.002, 0.005, 0.012, 0.024)
    weight_floor: float = 1e-6
    weight_ceiling: float = 4.0
    calibration_noise: float = 0.0006
    calibration_edge: float = 2.0
    model_error: float = FIELD_MODEL_ERROR

    def __post_init__(self) -> None:
        if not (len(self.alpha) == 2 and all(a > 0 for a in self.alpha)):
            raise ValueError(f"alpha must be two positive numbers, not {self.alpha}")
        if not 1 <= self.relaxation < 2:
            raise ValueError(f"relaxation must be at least 1 and less than 2, not {self.relaxation}")
        if self.max_iterations < 1 or self.check_every < 1:
            raise ValueError("max_iterations and check_every must be at least 1")
        if any(s <= 0 for s in self.slack):
            raise ValueError(f"slack must be positive penalties, not {self.slack}")
        if not 0 < self.tissue_noise[0] < self.tissue_noise[1]:
            raise ValueError(f"tissue_noise must be two ascending positive numbers, not {self.tissue_noise}")
        if not 0 < self.weight_floor <= 1 <= self.weight_ceiling:
            raise ValueError("weight_floor and weight_ceiling must enclose 1")
        if list(self.returned_noise) != sorted(set(self.returned_noise)):
            raise ValueError(f"returned_noise must be ascending numbers, not {self.returned_noise}")


def relative_weight(
    noise: FloatArray | None, mask: BoolArray, options: TGVOptions
) -> tuple[FloatArray | None, float | None]:
    """Inverse noise variance relative to the median in the mask, and that median.

    Voxels of no known noise (not finite, not positive) get the least weight.
    """
    if noise is None:
        return None, None
    known = np.isfinite(noise) & (noise > 0)
    if not known[mask].any():
        raise ValueError("the noise is not a positive number at any voxel of the mask")
    level = float(np.median(noise[mask & known]))
    ratio = np.divide(np.float32(level), noise, out=np.zeros(noise.shape, np.float32), where=known)
    return np.clip(ratio**2, options.weight_floor, options.weight_ceiling), level


def scaled_alpha(
    options: TGVOptions, noise_level: float | None, voxel_size: Sequence[float]
) -> tuple[float, float]:
    """Regularisation weights in ppm mm and ppm mm^2 for data of a noise level and a voxel size.

    What must be told apart is noise and detail of a few voxels. In units of the voxel, the best weight of
    total variation grows in proportion to the standard deviation of the noise (Rudin 1992; the variance, as
    a Laplace prior has it, erases noisy scans). So both weights follow noise times edge, where ``noise =
    sqrt(noise_level^2 + model_error^2)`` and the edge is that of a cube of the voxel's volume. Their ratio,
    a length, is the anatomy's and not the voxel's: how far tissue changes steadily before an edge comes. The
    published 3 mm was right from 1 to 3 mm. Without a noise map, ``options.alpha`` is used as it stands.

    References
    ----------
    Langkammer C, et al. NeuroImage 111:622-630 (2015), for the ratio.
    Rudin LI, Osher S, Fatemi E. Physica D 60:259-268 (1992).
    """
    scale = 1.0
    if noise_level is not None:
        calibration = np.hypot(options.calibration_noise, options.model_error)
        noise = float(np.hypot(noise_level, options.model_error) / calibration)
        scale = noise * mean_edge(voxel_size) / options.calibration_edge
    alpha_1, alpha_0 = options.alpha
    return alpha_1 * scale / REFERENCE_RAD_PER_PPM, alpha_0 * scale / REFERENCE_RAD_PER_PPM


def scaled_slack(options: TGVOptions, voxel_size: Sequence[float]) -> tuple[float, ...]:
    """Penalties of non-tissue sources, in units of alpha1, for a voxel size.

    Small voxels need lower ones: the layers that bone and air affect are thinner, and there are as many. The
    best penalties at 1 mm (two simulated heads) were a quarter of those at 2 mm (four); the factor is that of
    the voxel's face, and is not extrapolated beyond these sizes.
    """
    edge = mean_edge(voxel_size) / options.calibration_edge
    return tuple(penalty * float(np.clip(edge, 0.5, 1.0)) ** 2 for penalty in options.slack)


def tissue_factors(options: TGVOptions, noise_level: float | None) -> tuple[float, float]:
    """Factors on the penalty of a non-tissue source where the signal is that of tissue.

    Bone and air have no signal, and blood and fluid have. So where there is signal, its penalty is five
    times as high in the outermost layer, and there is none below. That was measured in simulated heads of 0.5
    to 3 ppb of noise. In two scans of 6 and 15 ppb it made shading worse, as what is wrong there (fat, flow,
    the end of a crop) has signal too; so the factors go back to 1 between ``options.tissue_noise``.

    Returns
    -------
    outermost, deeper : float
        Factors for the outermost layer and for those below; the latter may be infinite.
    """
    first, last = options.tissue_noise
    share = 1.0 if noise_level is None else float(np.clip((last - noise_level) / (last - first), 0, 1))
    return 5.0**share, 100.0**share / (1 - share) if share < 1 else float("inf")


def returned_share(options: TGVOptions, noise_level: float | None, voxel_size: Sequence[float]) -> float:
    """Share of the smoothed residual that is given back to the data.

    The contrast that regularisation takes is in proportion to its weights, and so to noise times edge
    (:func:`scaled_alpha`): in little noise there is nothing to give back. In a scan of 44 ppb mm the residual
    was not noise alone, and giving it back increased slow shading; simulated heads of 33 gained little.
    """
    noise = 0.0 if noise_level is None else noise_level * mean_edge(voxel_size)
    return options.returned_share * float(np.interp(noise, options.returned_noise, (0, 1, 1, 0)))


class Strength(NamedTuple):
    """What of the regularisation depends on noise and voxel size.

    Attributes
    ----------
    alpha
        Of :func:`scaled_alpha`.
    tissue_factors
        Of :func:`tissue_factors`.
    returned_share
        Of :func:`returned_share`.
    """

    alpha: tuple[float, float]
    tissue_factors: tuple[float, float]
    returned_share: float


def strength_for(options: TGVOptions, noise_level: float | None, voxel_size: Sequence[float]) -> Strength:
    """Choose all of it for data of a noise level and a voxel size."""
    return Strength(
        scaled_alpha(options, noise_level, voxel_size),
        tissue_factors(options, noise_level),
        returned_share(options, noise_level, voxel_size),
    )
