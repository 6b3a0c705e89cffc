"""The model of a study: against tests that are exact, and over many simulated studies with known effects."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qsmxt_app.errors import QsmxtError, UnusableData, WrongUsage
from qsmxt_app.group.statistics.fit import Estimate
from qsmxt_app.group.statistics.formula import parse_formula
from qsmxt_app.group.statistics.regions import ModelOptions, StudyModel, model_regions
from qsmxt_app.group.statistics.results import results_sidecar, results_tsv
from qsmxt_app.simulate.cohort import TrueEffects
from qsmxt_app.simulate.regional_values import NOISE, simulate_regional_values
from qsmxt_app.simulate.tissues import LABELS, TISSUES

STUDIES = 200
NUCLEI = ("Caudate", "Putamen", "Thalamus", "Red-Nucleus", "Hippocampus")
EFFECT = 0.02
PUTAMEN = TrueEffects(group={"putamen": EFFECT})
BOTH = {"putamen left", "putamen right"}


def study_rows(seed: int, participants: int = 24, **given: Any) -> list[dict[str, str]]:
    """Ten regions, few enough for many studies."""
    return simulate_regional_values(seed, participants, **{"nuclei": NUCLEI, **given})


def model(rows: list[dict[str, str]], formula: str = "chi ~ group", **options: str) -> StudyModel:
    return model_regions(rows, parse_formula(formula), ModelOptions(**options))


def estimate(found: StudyModel, region: str, effect: int = 1) -> Estimate:
    return next(one for one in found.regions if one.region.title == region).fit.estimates[effect]


def values(rows: list[dict[str, str]], group: str, side: str = "L") -> np.ndarray:
    chosen = [
        row for row in rows if (row["group"], row["hemisphere"], row["region"]) == (group, side, "putamen")
    ]
    return np.array([float(row["mean"]) for row in chosen])


def within_binomial(count: int, probability: float, trials: int = STUDIES) -> bool:
    """Whether a count is one that is missed once in ten thousand times on either side."""
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], trials, probability)
    return bool(low <= count <= high)


def test_two_groups_give_the_t_test_and_hedges_g() -> None:
    rows = study_rows(1)
    patients, controls = values(rows, "patient"), values(rows, "control")
    expected = stats.ttest_ind(patients, controls)
    one = estimate(model(rows), "putamen left")
    interval = expected.confidence_interval()
    assert (one.t, one.p, one.degrees) == pytest.approx((expected.statistic, expected.pvalue, 22))
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
    pooled = np.sqrt((patients.var(ddof=1) + controls.var(ddof=1)) / 2)
    assert one.effect_size == pytest.approx((patients.mean() - controls.mean()) / pooled * (1 - 3 / 87))


def test_a_number_alone_gives_the_correlation() -> None:
    rows = study_rows(2)
    left = [row for row in rows if row["hemisphere"] == "L" and row["region"] == "putamen"]
    expected = stats.linregress([float(row["age"]) for row in left], [float(row["mean"]) for row in left])
    one = estimate(model(rows, "chi ~ age"), "putamen left")
    assert (one.value, one.p, one.effect_size) == pytest.approx(
        (expected.slope, expected.pvalue, expected.rvalue)
    )


def test_a_study_of_two_groups_finds_the_effect_and_nothing_else() -> None:
    assert set(model(study_rows(1, effects=PUTAMEN)).differing["group[patient]"]) == BOTH


def test_effects_are_recovered_with_the_power_and_coverage_that_theory_says() -> None:
    putamen = TISSUES[LABELS["Left-Putamen"]]
    spread = np.hypot(putamen.chi_between, NOISE)
    found = [model(study_rows(seed, effects=PUTAMEN, nuclei=("Putamen",))) for seed in range(STUDIES)]
    estimates = [estimate(one, "putamen left") for one in found]
    error = spread * np.sqrt(2 / 12)
    assert np.mean([one.value for one in estimates]) == pytest.approx(EFFECT, abs=4 * error / STUDIES**0.5)
    assert within_binomial(sum(one.low < EFFECT < one.high for one in estimates), 0.95)
    limit = stats.t.ppf(0.975, 22)
    power = stats.nct.sf(limit, 22, EFFECT / error) + stats.nct.cdf(-limit, 22, EFFECT / error)
    assert within_binomial(sum(one.p < 0.05 for one in estimates), power)


def test_without_an_effect_shuffled_groups_find_nothing() -> None:
    rows, rng = study_rows(3), np.random.default_rng(3)
    people = sorted({row["participant_id"] for row in rows})
    groups = [next(row["group"] for row in rows if row["participant_id"] == person) for person in people]
    false, uncorrected = 0, 0
    for _ in range(100):
        of = dict(zip(people, rng.permutation(groups), strict=True))
        shuffled = model([{**row, "group": str(of[row["participant_id"]])} for row in rows])
        false += bool(shuffled.differing["group[patient]"])
        uncorrected += estimate(shuffled, "putamen left").p < 0.05
    # at most one of twenty by Benjamini and Hochberg; left and right resemble each other, so that it is fewer
    assert false <= stats.binom.ppf(1 - 1e-4, 100, 0.05)
    assert within_binomial(uncorrected, 0.05, 100)


def test_corrections_are_ordered_and_over_regions() -> None:
    rows = study_rows(1, effects=PUTAMEN)
    plain = np.array([one.fit.estimates[1].p for one in model(rows).regions])
    corrected = {
        name: np.array([one.corrected[0] for one in model(rows, correction=name).regions])
        for name in ("fdr", "holm", "bonferroni")
    }
    np.testing.assert_allclose(corrected["bonferroni"], np.minimum(1, plain * plain.size))
    np.testing.assert_allclose(corrected["fdr"], stats.false_discovery_control(plain))
    assert (corrected["fdr"] <= corrected["holm"]).all()
    assert (corrected["holm"] <= corrected["bonferroni"]).all()


def test_repeated_sessions_are_not_taken_for_more_participants() -> None:
    """With as many sessions each, a random intercept gives the t test of the participants' means."""
    rows = study_rows(4, 12, sessions=3, nuclei=("Putamen",))
    means = [values(rows, group).reshape(-1, 3).mean(axis=1) for group in ("patient", "control")]
    expected = stats.ttest_ind(*means)
    found = model(rows)
    one = estimate(found, "putamen left")
    assert found.regions[0].fit.mixed
    # the variance is found as far as the optimiser goes
    assert (one.t, one.p, one.degrees) == pytest.approx((expected.statistic, expected.pvalue, 10), rel=1e-4)


def test_change_between_sessions_is_the_paired_t_test() -> None:
    rows = study_rows(5, 12, sessions=2, nuclei=("Putamen",))
    left = [row for row in rows if row["hemisphere"] == "L"]
    first, second = (
        [float(row["mean"]) for row in left if row["session_id"] == session] for session in ("ses-1", "ses-2")
    )
    expected = stats.ttest_rel(second, first)
    one = estimate(model(rows, "chi ~ session_id"), "putamen left")
    assert (one.t, one.p, one.degrees) == pytest.approx((expected.statistic, expected.pvalue, 11), rel=1e-4)


def test_unequal_sessions_agree_with_the_library() -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    rows = [
        row
        for row in study_rows(6, 12, sessions=3, nuclei=("Putamen",))
        if row["hemisphere"] == "L" and (row["session_id"] != "ses-3" or int(row["participant_id"][-2:]) < 5)
    ]
    group = np.array([float(row["group"] == "patient") for row in rows])
    response = np.array([float(row["mean"]) for row in rows])
    library = MixedLM(
        100 * response,
        np.column_stack([np.ones(len(rows)), group]),
        [row["participant_id"] for row in rows],
    ).fit(reml=True)
    one = estimate(model(rows), "putamen left")
    assert 100 * one.value == pytest.approx(library.params[1], rel=1e-3)
    assert 100 * one.error == pytest.approx(library.bse_fe[1], rel=1e-3)


def test_doubtful_values_are_left_out_unless_asked_for() -> None:
    rows = study_rows(1)
    for row in rows:
        if row["region"] == "putamen" and row["participant_id"] in ("sub-02", "sub-04"):
            row |= {"mean": "1", "confidence": "doubtful"}
    out, kept = model(rows), model(rows, doubtful="include")
    region = next(one for one in out.regions if one.region.title == "putamen left")
    assert (region.fit.scans, region.doubtful) == (22, 2)
    assert "2 doubtful values left out" in region.remarks
    assert abs(estimate(out, "putamen left").value) < 0.02 < estimate(kept, "putamen left").value


def test_many_doubtful_values_of_a_region_are_a_warning() -> None:
    rows = study_rows(1)
    for row in rows:
        if row["region"] == "putamen" and row["group"] == "patient" and row["hemisphere"] == "L":
            row["confidence"] = "doubtful"
    found = model(rows)
    assert "putamen left" in found.not_fitted
    kept = model(rows, doubtful="include")
    assert "putamen left (12 of 24)" in kept.warnings[-1]
    assert "--model-doubtful exclude" in kept.warnings[-1]


def test_assumptions_are_checked_region_by_region() -> None:
    rows = study_rows(1, 40)
    next(row for row in rows if row["region"] == "thalamus")["mean"] = "0.9"
    remarks = {one.region.title: one.remarks for one in model(rows, "chi ~ group + age").regions}
    assert remarks.pop("thalamus left") == ("residuals are not normal",)
    assert not any(remarks.values())


def test_one_scan_that_decides_is_named() -> None:
    rows = study_rows(1, 30)
    for row in rows:
        if row["participant_id"] == "sub-07":
            row |= {"age": "500", "mean": "0.2"}
    found = model(rows, "chi ~ age")
    assert all(any("sub-07 has a leverage of 0.9" in text for text in one.remarks) for one in found.regions)
    assert any("sub-07 alone changes" in text for one in found.regions for text in one.remarks)


@pytest.mark.parametrize(
    ("formula", "change", "error", "said"),
    [
        ("chi ~ grp", {}, WrongUsage, "no column grp .* age, sex, group"),
        ("chi ~ group", {"group": "x"}, UnusableData, "group is x in all scans"),
        ("chi ~ group", {"group": ""}, UnusableData, "no scan has all of group"),
        ("chi ~ age", {1: {"age": "89+"}}, UnusableData, "age has numbers and words \\('89\\+'\\)"),
        ("chi ~ participant_id", {}, WrongUsage, "no column participant_id"),
        ("chi ~ group + twin", {"twin": "group"}, UnusableData, "twin.* is determined by group.patient"),
        ("chi ~ age + old", {"old": "age"}, UnusableData, "old is determined by age \\(collinear\\)"),
        ("chi ~ city", {"city": "participant_id"}, UnusableData, "24 participants .* too few for 24 param"),
        ("r2star ~ group", {}, UnusableData, "no values of r2star"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(formula: str, change: dict, error: type, said: str) -> None:
    rows = study_rows(1)
    for name, what in change.items():
        for row in rows:
            if not isinstance(name, int):
                row[name] = row.get(what, what)
            elif row["participant_id"] == f"sub-{name:02d}":
                row.update(what)
    with pytest.raises(QsmxtError) as refused:
        model(rows, formula)
    assert refused.type is error
    assert re.search(said, str(refused.value))
    assert len(str(refused.value).splitlines()) == 1


def test_missing_ages_leave_scans_out_and_say_whose() -> None:
    rows = study_rows(1)
    for row in rows:
        row["age"] = "" if row["participant_id"] == "sub-03" else row["age"]
    found = model(rows, "chi ~ group + age")
    assert len(found.design.scans) == 23
    assert "Left out, as variables are missing: sub-03 (age)." in found.warnings


def test_regions_without_residuals_are_named_and_spoil_no_other() -> None:
    rows = study_rows(1)
    for row in rows:
        if row["region"] == "thalamus":
            row["mean"] = {"control": "0.01", "patient": "0.03"}[row["group"]]
    found = model(rows)
    assert set(found.not_fitted) == {"thalamus left", "thalamus right"}
    assert all(np.isfinite(one.corrected).all() for one in found.regions)


def test_few_participants_are_a_warning() -> None:
    warnings = " ".join(model(study_rows(1, 12), "chi ~ group + age + sex").warnings)
    assert "group patient has 6 participants" in warnings
    assert "8 residual degrees of freedom" in warnings
    assert not model(study_rows(1)).warnings


def test_levels_are_in_the_order_of_the_data_dictionary() -> None:
    formula = parse_formula("chi ~ group")
    turned = model_regions(study_rows(1), formula, levels={"group": ["patient", "control"]})
    assert turned.design.references == {"group": "patient"}
    coded = [{**row, "group": {"control": "1", "patient": "2"}[row["group"]]} for row in study_rows(1)]
    named = model_regions(coded, formula, levels={"group": ["1", "2"]}).design
    assert [effect.name for effect in named.effects] == ["group[2]"]
    assert [effect.name for effect in model(coded).design.effects] == ["group"]


def test_the_table_has_a_row_for_every_region_and_coefficient_and_its_dictionary() -> None:
    found = model(study_rows(1), "chi ~ group * age")
    rows = list(csv.DictReader(io.StringIO(results_tsv(found)), delimiter="\t"))
    sidecar = results_sidecar(found)
    assert set(rows[0]) == sidecar.keys() - {"Model"}
    terms = [row["term"] for row in rows[:4]]
    assert terms == ["intercept", "group[patient]", "age", "group[patient]:age"]
    assert len(rows) == 4 * 10
    assert rows[0]["p"] == "n/a"
    one = estimate(found, "caudate left")
    assert [float(rows[1][name]) for name in ("estimate", "ci_low", "p")] == pytest.approx(
        [one.value, one.low, one.p], rel=1e-5
    )
    assert sidecar["Model"]["ReferenceLevels"] == {"group": "control"}
