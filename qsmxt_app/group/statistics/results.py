"""Results of the model as a table with its data dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qsmxt_app.group.csv_text import tsv_cell
from qsmxt_app.group.statistics.design import INTERCEPT
from qsmxt_app.group.statistics.fit import Estimate
from qsmxt_app.group.statistics.regions import RegionModel, StudyModel

_CORRECTIONS = {
    "fdr": "false discovery rate of Benjamini and Hochberg",
    "holm": "family-wise error by Holm's method",
    "bonferroni": "family-wise error by Bonferroni's method",
}
_COLUMNS = {
    "atlas": "Segmentation that the region is of",
    "index": "Label of the region in it",
    "region": "Region",
    "hemisphere": "L or R; n/a for what lies on both sides",
    "term": "Coefficient; name[level] is the difference between this level and the reference level",
    "estimate": "Estimate, in the units of the map (per unit of a variable of numbers)",
    "standard_error": "Standard error of the estimate",
    "ci_low": "Lower end of the 95 % confidence interval, not corrected for the number of regions",
    "ci_high": "Upper end of it",
    "t": "Estimate divided by its standard error",
    "df": "Residual degrees of freedom; in a mixed model, between or within participants",
    "p": "Two-sided p value, not corrected",
    "p_corrected": "p value corrected over all regions of the term",
    "effect_size": "Hedges' g (difference between groups in residual standard deviations) or partial r",
    "effect_size_kind": "Which of them",
    "n_scans": "Scans in the model of the region",
    "n_participants": "Participants in it",
    "n_doubtful": "Values of the region marked as doubtful",
    "model": "ols: ordinary least squares; mixed: with a random intercept of each participant",
    "normality_p": "Test of Shapiro and Wilk that residuals are normal, not corrected",
    "max_leverage": "Largest leverage of a scan",
    "max_cooks_distance": "Largest Cook's distance of a scan",
    "remarks": "What was noticed, after correction over regions",
}


def results_tsv(model: StudyModel) -> str:
    """Return the table: one row for every region and coefficient."""
    rows = ["\t".join(_COLUMNS)]
    for region in model.regions:
        rows += ["\t".join(map(tsv_cell, cells)) for cells in _rows(model, region)]
    return "\n".join(rows) + "\n"


def results_sidecar(model: StudyModel) -> dict[str, Any]:
    """Describe the table: its columns, and what was fitted."""
    design, options = model.design, model.options
    columns: dict[str, Any] = {name: {"Description": text} for name, text in _COLUMNS.items()}
    for name in ("estimate", "standard_error", "ci_low", "ci_high"):
        columns[name]["Units"] = model.units
    columns["p_corrected"]["Method"] = _CORRECTIONS[options.correction]
    return columns | {
        "Model": {
            "Formula": design.formula.text,
            "Measure": f"{options.value} of {design.formula.measure} in each region",
            "ReferenceLevels": dict(design.references),
            "Centres": dict(design.centres),
            "Participants": len(set(design.participants)),
            "Scans": len(design.scans),
            "GroupSizes": {name: dict(sizes) for name, sizes in design.group_sizes.items()},
            "DoubtfulValues": "left out" if options.doubtful == "exclude" else "kept",
            "ScansLeftOut": dict(design.left_out),
            "RegionsNotFitted": dict(model.not_fitted),
            "Warnings": list(model.warnings),
        }
    }


def _rows(model: StudyModel, region: RegionModel) -> Iterator[list[object]]:
    fit, of = region.fit, region.region
    whose = [of.atlas, of.index, of.name, of.hemisphere]
    counts = [fit.scans, fit.participants, region.doubtful, "mixed" if fit.mixed else "ols"]
    checks = [fit.normality_p, fit.leverage[1], fit.influence[1], "; ".join(region.remarks)]
    intercept, *effects = fit.estimates
    # whether the intercept is 0 is no question of anybody
    yield [*whose, INTERCEPT, *_numbers(intercept), "", "", "", "", *counts, *checks]
    for one, effect, corrected in zip(effects, model.design.effects, region.corrected, strict=True):
        kind = "Hedges g" if effect.between_groups else "partial r"
        tested = [one.p, corrected, one.effect_size, kind]
        yield [*whose, effect.name, *_numbers(one), *tested, *counts, *checks]


def _numbers(one: Estimate) -> list[float]:
    return [one.value, one.error, one.low, one.high, one.t, one.degrees]
