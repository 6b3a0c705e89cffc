"""Power, coverage and false positives of the statistics of regional values, without images.

python benchmarks/regional_statistics.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np

from qsmxt_app.group.statistics.formula import parse_formula
from qsmxt_app.group.statistics.regions import StudyModel, model_regions
from qsmxt_app.simulate.cohort import TrueEffects
from qsmxt_app.simulate.regional_values import simulate_regional_values

FORMULA = parse_formula("chi ~ group + age + sex")
TERM = "group[patient]"
TRUE = {"putamen left", "putamen right"}


def main() -> None:
    """Print one row for each kind of study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--effect", type=float, default=0.02, help="ppm in the putamen of patients")
    given = parser.parse_args()
    print("| Studies | Putamen found | Only putamen | Anything else | Mean estimate [ppm] | In the 95 % CI |")
    print("| --- | --- | --- | --- | --- | --- |")
    for people in (24, 48):
        for effect in (given.effect, 0.0):
            effects = TrueEffects(group={"putamen": effect})
            models = [
                fitted(simulate_regional_values(seed, people, effects)) for seed in range(given.studies)
            ]
            print(row(f"2 × {people // 2}, {effect:g} ppm", models, effect))  # noqa: RUF001
    print(row("2 × 12, groups of one study shuffled", shuffled(100), 0.0))  # noqa: RUF001


def fitted(rows: list[dict[str, str]]) -> StudyModel:
    """Fit the model to one study."""
    return model_regions(rows, FORMULA)


def shuffled(times: int) -> Iterable[StudyModel]:
    """Fit one study without effects again and again, with the groups of its people shuffled."""
    rows, rng = simulate_regional_values(1), np.random.default_rng(1)
    groups = {one["participant_id"]: one["group"] for one in rows}
    for _ in range(times):
        of = dict(zip(groups, rng.permutation(list(groups.values())), strict=True))
        yield fitted([{**one, "group": str(of[one["participant_id"]])} for one in rows])


def row(title: str, models: Iterable[StudyModel], effect: float) -> str:
    """Count what was found."""
    found, estimates, covered = [], [], []
    for model in models:
        found.append(set(model.differing[TERM]))
        left = next(one for one in model.regions if one.region.title == "putamen left").fit.estimates[1]
        estimates.append(left.value)
        covered.append(left.low < effect < left.high)
    counts = (
        sum(bool(one & TRUE) for one in found),
        sum(bool(one) and one <= TRUE for one in found),
        sum(bool(one - TRUE) for one in found),
    )
    cells = [f"{count} of {len(found)}" for count in counts]
    return f"| {title} | {' | '.join(cells)} | {np.mean(estimates):.4f} | {np.mean(covered):.0%} |"


if __name__ == "__main__":
    main()
