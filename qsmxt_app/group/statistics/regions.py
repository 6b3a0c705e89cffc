"""The model of every region, with p values corrected over regions, and assumptions checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.errors import UnusableData
from qsmxt_app.group.statistics.design import Design, listed, make_design, scan_name
from qsmxt_app.group.statistics.fit import Fit, NotFitted, fit_region
from qsmxt_app.group.statistics.formula import Formula
from qsmxt_app.group.tables import Row

SIGNIFICANT = 0.05
DOUBTFUL = "doubtful"
HIGH_LEVERAGE = 0.5
"""Share of its own fitted value that a scan decides, from which on it is named (Huber 1981)."""
HIGH_INFLUENCE = 1.0
"""Cook's distance from which on a scan is named (Cook and Weisberg 1982)."""
MOST_DOUBTFUL = 0.2
"""Share of doubtful values of a region above which it is named."""
_METHODS = {"fdr": "fdr_bh", "holm": "holm", "bonferroni": "bonferroni"}
_SIDES = {"L": " left", "R": " right"}


@dataclass(frozen=True)
class ModelOptions:
    """Choices beside the formula.

    Attributes
    ----------
    correction
        Of p values, over regions: `fdr`, the false discovery rate (Benjamini 1995); `holm` (Holm 1979) or
        `bonferroni`, the family-wise error.
    value
        Which value of a region: `mean` or `median`.
    doubtful
        Whether values marked as doubtful are left out (`exclude`) or kept (`include`).
    """

    correction: str = "fdr"
    value: str = "mean"
    doubtful: str = "exclude"


@dataclass(frozen=True)
class Region:
    """A region of the table of the group."""

    atlas: str
    index: str
    name: str
    hemisphere: str

    @property
    def title(self) -> str:
        """Name and side."""
        return f"{self.name}{_SIDES.get(self.hemisphere, '')}"


@dataclass(frozen=True)
class RegionModel:
    """One region: its model, a corrected p value for each effect, its doubtful values, and remarks."""

    region: Region
    fit: Fit
    corrected: tuple[float, ...]
    doubtful: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class StudyModel:
    """The models of all regions.

    Attributes
    ----------
    units
        Of the map.
    not_fitted
        Regions without a model, and why.
    """

    design: Design
    options: ModelOptions
    units: str
    regions: tuple[RegionModel, ...]
    not_fitted: Mapping[str, str]

    @property
    def differing(self) -> dict[str, tuple[str, ...]]:
        """Regions in which an effect is significant after correction, by effect."""
        return {
            effect.name: tuple(
                one.region.title for one in self.regions if one.corrected[number] < SIGNIFICANT
            )
            for number, effect in enumerate(self.design.effects)
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to keep in mind."""
        scans = len(self.design.scans)
        often = [
            f"{one.region.title} ({one.doubtful} of {scans})"
            for one in self.regions
            if one.doubtful > MOST_DOUBTFUL * scans
        ]
        excluded = self.options.doubtful == "exclude"
        doubt = (
            f"Many doubtful values {'are left out' if excluded else 'are in the model'}: {listed(often)}. "
            "Where doubt is more frequent in one group, this biases the comparison: run it again with "
            f"--model-doubtful {'include' if excluded else 'exclude'} and compare."
        )
        return (*self.design.warnings(), *([doubt] if often else []))


def model_regions(
    rows: Sequence[Row],
    formula: Formula,
    options: ModelOptions = ModelOptions(),
    levels: Mapping[str, Sequence[str]] | None = None,
) -> StudyModel:
    """Fit the model to all regions of one map.

    Parameters
    ----------
    rows
        The tidy table of the group: one row a scan, region and map, with the columns of participants.tsv.
    formula, options
        What is fitted.
    levels
        As for `make_design`.

    Raises
    ------
    WrongUsage, UnusableData
        As `make_design`; also if no region can be fitted.
    """
    design = make_design(formula, list({scan_name(row): row for row in rows}.values()), levels)
    found = _regional_values(rows, design, options)
    fits = {region: fit_region(design, one.values) for region, one in found.items()}
    fitted = {region: fit for region, fit in fits.items() if isinstance(fit, Fit)}
    refused = {region: fit.reason for region, fit in fits.items() if isinstance(fit, NotFitted)}
    if not fitted:
        why = next(iter(refused.values()), f"there are no values of {formula.measure}")
        raise UnusableData(f"--model '{formula.text}': no region can be fitted: {why}.")
    corrected = _corrected(list(fitted.values()), options.correction)
    normality = _adjusted([fit.normality_p for fit in fitted.values()], "fdr")
    regions = tuple(
        RegionModel(
            region, fit, p, found[region].doubtful, _remarks(fit, normal, options, found[region].doubtful)
        )
        for (region, fit), p, normal in zip(fitted.items(), corrected, normality, strict=True)
    )
    units = next(iter(found.values())).units
    return StudyModel(design, options, units, regions, {one.title: why for one, why in refused.items()})


@dataclass
class _Values:
    """Values of one region, NaN where there is none or where it is left out; how many are doubtful."""

    values: NDArray[np.float64]
    units: str
    doubtful: int = 0


def _regional_values(rows: Sequence[Row], design: Design, options: ModelOptions) -> dict[Region, _Values]:
    place = {scan: number for number, scan in enumerate(design.scans)}
    found: dict[Region, _Values] = {}
    for row in rows:
        number, cell = place.get(scan_name(row)), row.get(options.value)
        if row.get("map") != design.formula.measure or number is None or not cell:
            continue
        region = Region(row["atlas"], row["index"], row["region"], row["hemisphere"])
        nothing = _Values(np.full(len(design.scans), np.nan), row.get("units", ""))
        one = found.setdefault(region, nothing)
        doubt = row.get("confidence") == DOUBTFUL
        one.doubtful += doubt
        if not doubt or options.doubtful == "include":
            one.values[number] = float(cell)
    return found


def _corrected(fits: Sequence[Fit], correction: str) -> list[tuple[float, ...]]:
    """Correct the p values of each effect over regions; the intercept is not tested."""
    effects = zip(*([one.p for one in fit.estimates[1:]] for fit in fits), strict=True)
    return list(zip(*(_adjusted(p, correction) for p in effects), strict=True))


def _adjusted(p: Sequence[float], correction: str) -> list[float]:
    from statsmodels.stats.multitest import multipletests

    return [float(one) for one in multipletests(p, method=_METHODS[correction])[1]]


def _remarks(fit: Fit, normality: float, options: ModelOptions, doubtful: int) -> tuple[str, ...]:
    found = []
    if doubtful:
        verb = "left out" if options.doubtful == "exclude" else "kept"
        found.append(f"{doubtful} doubtful value{'s' * (doubtful != 1)} {verb}")
    if normality < SIGNIFICANT:
        found.append("residuals are not normal")
    scan, leverage = fit.leverage
    if leverage > HIGH_LEVERAGE:
        found.append(f"{scan} has a leverage of {leverage:.2f}")
    scan, distance = fit.influence
    if distance > HIGH_INFLUENCE:
        found.append(f"{scan} alone changes the estimates (Cook's distance {distance:.1f})")
    if not fit.converged:
        found.append("the variance between participants was not found")
    return tuple(found)
