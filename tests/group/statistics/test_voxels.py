"""Voxel-wise statistics on simulated studies of images in a common space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qsmxt_app.errors import UnusableData
from qsmxt_app.group.statistics.clusters import Cluster, clusters_tsv, find_clusters
from qsmxt_app.group.statistics.design import make_design
from qsmxt_app.group.statistics.formula import parse_formula
from qsmxt_app.group.statistics.voxels import (
    corrected_p,
    design_of_participants,
    effect_map,
    permute,
    smooth_inside,
)
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.cohort import TrueEffects, draw_participant
from qsmxt_app.simulate.person import draw_chi, make_person
from qsmxt_app.simulate.tissues import LABELS, TISSUES

MM = 5.0
AFFINE = np.diag([MM, MM, MM, 1.0])
NAMES = {index: name for name, index in LABELS.items()}
NOISE = 0.01
"""ppm, of a voxel."""


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    tissue, _, _ = sample_anatomy(
        make_person(1, 1), np.array([-70.0, -100.0, -60.0]), MM * np.eye(3), (28, 34, 28)
    )
    return np.asarray(tissue, dtype=np.int32)


def brain_of(labels: np.ndarray) -> np.ndarray:
    kinds = [LABELS[one.name] for one in TISSUES if one.kind in ("nucleus", "cortex", "white")]
    return np.isin(labels, kinds)


def study(labels: np.ndarray, seed: int, effects: TrueEffects) -> tuple[Any, np.ndarray]:
    """Return the design and the smoothed maps of 2 x 12 people."""
    brain, maps, rows = brain_of(labels), [], []
    for number in range(1, 25):
        person = draw_participant(seed, number)
        chi = draw_chi(np.random.default_rng([seed, number])).copy()
        for name, change in effects.of(person).items():
            chi[LABELS[name]] += change
        noise = np.random.default_rng([seed, number, 9]).normal(0, NOISE, labels.shape)
        maps.append(smooth_inside((chi[labels] + noise).astype(np.float32), brain, 6.0, (MM,) * 3)[brain])
        rows.append({"participant_id": f"sub-{number:02d}", "group": person.group, "age": str(person.age)})
    design = make_design(parse_formula("chi ~ group + age"), rows)
    return design_of_participants(design, {row["participant_id"] for row in rows}), np.stack(maps)


def clusters_of(labels: np.ndarray, seed: int, effects: TrueEffects) -> list[Cluster]:
    design, values = study(labels, seed, effects)
    brain = brain_of(labels)
    found = permute(design.matrix, 1, values, brain, 100, 3)
    volumes = []
    for one, outside in (
        (found.t, 0.0),
        (corrected_p(found.tfce, found.largest), 1.0),
        (effect_map(design.matrix, 1, values), 0.0),
    ):
        volume = np.full(brain.shape, outside, np.float32)
        volume[brain] = one
        volumes.append(volume)
    return find_clusters(*volumes, labels, NAMES, AFFINE)


def test_a_difference_between_groups_is_found_where_it_is(labels: np.ndarray) -> None:
    clusters = clusters_of(labels, 1, TrueEffects(group={"putamen": 0.05}))
    assert clusters
    assert {cluster.peak_region for cluster in clusters} == {"Left-Putamen", "Right-Putamen"}
    assert all(cluster.peak_t > 0 and 0.02 < cluster.peak_effect < 0.07 for cluster in clusters)


def test_where_groups_are_equal_nothing_is_found(labels: np.ndarray) -> None:
    assert clusters_of(labels, 1, TrueEffects()) == []


def test_the_same_seed_gives_the_same_permutations(labels: np.ndarray) -> None:
    design, values = study(labels, 1, TrueEffects())
    brain = brain_of(labels)
    one, same, other = (permute(design.matrix, 1, values, brain, 5, seed).largest for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_t_and_estimates_are_those_of_least_squares(labels: np.ndarray) -> None:
    from statsmodels.regression.linear_model import OLS

    design, values = study(labels, 2, TrueEffects(group={"putamen": 0.05}))
    found = permute(design.matrix, 1, values, brain_of(labels), 2, 1)
    estimates = effect_map(design.matrix, 1, values)
    for voxel in (0, values.shape[1] // 2):
        fit = OLS(values[:, voxel].astype(float), design.matrix).fit()
        assert found.t[voxel] == pytest.approx(fit.tvalues[1], rel=1e-3)
        assert estimates[voxel] == pytest.approx(fit.params[1], rel=1e-3)


def test_smoothing_keeps_a_constant_up_to_the_border() -> None:
    inside = np.zeros((9, 9, 9), bool)
    inside[2:7, 2:7, 2:7] = True
    smooth = smooth_inside(np.full(inside.shape, 3.0, np.float32), inside, 6.0, (2.0, 2.0, 2.0))
    np.testing.assert_allclose(smooth[inside], 3.0, rtol=1e-5)
    assert not smooth[~inside].any()


def test_scans_of_a_participant_count_once_and_must_be_of_one_group() -> None:
    rows = [
        {
            "participant_id": f"sub-{n // 2}",
            "session_id": f"ses-{n % 2}",
            "group": "ab"[n // 2 % 2],
            "age": str(n),
        }
        for n in range(16)
    ]
    design = design_of_participants(
        make_design(parse_formula("chi ~ group + age"), rows), {f"sub-{n}" for n in range(7)}
    )
    assert design.people == tuple(f"sub-{n}" for n in range(7))
    assert np.array_equal(design.matrix[:, 1], [0, 1, 0, 1, 0, 1, 0])
    within = make_design(parse_formula("chi ~ session_id"), rows)
    with pytest.raises(UnusableData, match="different groups"):
        design_of_participants(within, {"sub-0", "sub-1", "sub-2", "sub-3"})


def test_clusters_of_both_signs_are_apart_and_name_their_regions() -> None:
    t, p, effect = np.zeros((3, 6, 6, 6), np.float32)
    p[:] = 1
    labels = np.zeros((6, 6, 6), np.int32)
    t[1:3, 1, 1], t[3:5, 1, 1] = 4, -5
    t[4, 1, 1] = -7
    p[1:5, 1, 1] = 0.01
    labels[3, 1, 1] = 12
    smaller, larger = find_clusters(t, p, effect, labels, {12: "left putamen"}, AFFINE)
    assert (smaller.peak_t, larger.peak_t) == (-7, 4)
    assert smaller.volume_mm3 == pytest.approx(2 * MM**3)
    assert smaller.peak_mm == (20, 5, 5)
    assert dict(smaller.regions) == {"left putamen": 0.5, "unlabelled": 0.5}
    head, first, _ = clusters_tsv({"group[b]": [smaller, larger]}).splitlines()
    assert len(head.split("\t")) == len(first.split("\t")) == 12
