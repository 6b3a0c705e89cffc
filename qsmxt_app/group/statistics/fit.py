"""A linear model of one region, with a random intercept where participants have several scans."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.group.statistics.design import Design, full_rank

CONFIDENCE = 0.95
_NO_VARIANCE = 1e-12
"""Share of the variance below which residuals are rounding errors."""


@dataclass(frozen=True)
class Estimate:
    """One coefficient.

    Attributes
    ----------
    value, error, low, high
        Estimate, standard error and 95 % confidence interval, in the units of the map.
    t, degrees, p
        Test against 0, two-sided, with these degrees of freedom.
    effect_size
        Hedges' g of a difference between groups; partial correlation of anything else.
    """

    value: float
    error: float
    low: float
    high: float
    t: float
    degrees: float
    p: float
    effect_size: float


@dataclass(frozen=True)
class Fit:
    """The model of one region.

    Attributes
    ----------
    estimates
        The intercept, and one for every effect of the design.
    scans, participants
        How many it is fitted to.
    mixed
        Whether there is a random intercept.
    converged
        Whether its variance was found.
    normality_p
        Of the test of Shapiro and Wilk (1965) on residuals.
    leverage, influence
        Largest leverage and Cook's distance, and the scans that have them.
    """

    estimates: tuple[Estimate, ...]
    scans: int
    participants: int
    mixed: bool
    converged: bool
    normality_p: float
    leverage: tuple[str, float]
    influence: tuple[str, float]


@dataclass(frozen=True)
class NotFitted:
    """Why a region has no model."""

    reason: str


def fit_region(design: Design, values: NDArray[np.float64]) -> Fit | NotFitted:
    """Fit the model to the values of one region.

    Ordinary least squares, or, where a participant has several scans, a random intercept for each participant
    (Laird 1982) by restricted maximum likelihood. Its variance decides weights by which generalised least
    squares become ordinary ones of transformed values; tests have the degrees of freedom between participants
    for what is constant within them, and those within participants for anything else (Schluchter 1990).

    Parameters
    ----------
    design
        Of all scans.
    values : ndarray (scans,)
        Of the region; NaN where there is none.
    """
    from scipy.stats import shapiro
    from statsmodels.regression.linear_model import OLS

    used = np.isfinite(values)
    matrix, response = design.matrix[used], values[used]
    scans = [scan for scan, one in zip(design.scans, used, strict=True) if one]
    people = [person for person, one in zip(design.participants, used, strict=True) if one]
    names, member = np.unique(people, return_inverse=True)
    if names.size <= matrix.shape[1] or not full_rank(matrix):
        return NotFitted(f"the {names.size} participants with values do not determine all terms")
    if np.ptp(response) == 0:
        return NotFitted("all values are the same")
    mixed = names.size < len(scans)
    degrees = _degrees(matrix, member) if mixed else np.full(matrix.shape[1], len(scans) - matrix.shape[1])
    if degrees.min() < 1:
        return NotFitted("too few participants have several scans")
    ratio, converged = _variance_ratio(matrix, response, member) if mixed else (0.0, True)
    result = OLS(_weighted(response, member, ratio), _weighted(matrix, member, ratio)).fit()
    if result.mse_resid <= _NO_VARIANCE * np.var(response):
        return NotFitted("nothing is left that the terms do not explain")
    influence = result.get_influence()
    return Fit(
        estimates=_estimates(result, design, degrees, float(np.sqrt(result.mse_resid * (1 + ratio)))),
        scans=len(scans),
        participants=int(names.size),
        mixed=mixed,
        converged=converged,
        normality_p=float(shapiro(influence.resid_studentized_internal).pvalue),
        leverage=_largest(scans, influence.hat_matrix_diag),
        influence=_largest(scans, influence.cooks_distance[0]),
    )


def _variance_ratio(
    matrix: NDArray[np.float64], values: NDArray[np.float64], member: NDArray[np.intp]
) -> tuple[float, bool]:
    """Return the variance between participants over that within them, and whether it was found."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings():
        # it warns wherever participants differ little: the variance is 0 then, which is an answer
        warnings.simplefilter("ignore")
        try:
            result = MixedLM(values / np.std(values), matrix, member).fit(reml=True)
        except np.linalg.LinAlgError:
            return 0.0, False
    ratio = float(result.cov_re[0, 0] / result.scale)
    return (ratio, bool(result.converged)) if np.isfinite(ratio) else (0.0, False)


def _weighted(array: NDArray[np.float64], member: NDArray[np.intp], ratio: float) -> NDArray[np.float64]:
    """Take part of each participant's mean away, so that what remains is independent with equal variance."""
    if ratio == 0:
        return array
    counts = np.bincount(member)
    columns = array.reshape(len(array), -1)
    means = np.stack([np.bincount(member, column) / counts for column in columns.T], axis=1)
    share = 1 - 1 / np.sqrt(1 + counts * ratio)
    return np.asarray(columns - (share[:, None] * means)[member]).reshape(array.shape)


def _degrees(matrix: NDArray[np.float64], member: NDArray[np.intp]) -> NDArray[np.float64]:
    """Degrees of freedom of each column, between participants or within them."""
    people = int(member.max()) + 1
    first = np.array([np.flatnonzero(member == person)[0] for person in range(people)])
    between = (matrix == matrix[first][member]).all(axis=0)
    within = len(matrix) - people - np.count_nonzero(~between)
    return np.where(between, people - np.count_nonzero(between), within).astype(float)


def _estimates(
    result: object, design: Design, degrees: NDArray[np.float64], spread: float
) -> tuple[Estimate, ...]:
    from scipy.stats import t as student

    params, errors = np.asarray(result.params), np.asarray(result.bse)  # type: ignore[attr-defined]
    half = student.ppf((1 + CONFIDENCE) / 2, degrees) * errors
    ratios = params / errors
    p = 2 * student.sf(np.abs(ratios), degrees)
    groups = [False, *(effect.between_groups for effect in design.effects)]
    # without the factor, g would be too large with few participants (Hedges 1981)
    sizes = np.where(
        groups,
        params / spread * (1 - 3 / (4 * degrees - 1)),
        ratios / np.sqrt(ratios**2 + degrees),
    )
    columns = (params, errors, params - half, params + half, ratios, degrees, p, sizes)
    return tuple(Estimate(*map(float, row)) for row in zip(*columns, strict=True))


def _largest(scans: Sequence[str], values: NDArray[np.float64]) -> tuple[str, float]:
    place = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
    return scans[place], float(values[place])
