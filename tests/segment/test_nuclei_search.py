"""Nuclei of a phantom: bright ellipsoids at plausible places, of which each test displaces some."""

import numpy as np
import pytest

from qsmxt_app.registration import Image, Transform
from qsmxt_app.segment.alignment import Alignment
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.labelling import place_nuclei, refine_nuclei_borders
from qsmxt_app.segment.nuclei_search import find_nuclei, scaled
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.scan_labels import labels_on_scan

SHAPE = (64, 64, 48)
# centre and half axes in mm, left side; the right one mirrors x
PLACES = {
    "substantia-nigra": ((22, 36, 18), (3, 6, 3)),
    "red-nucleus": ((27, 26, 22), (3.2, 3.2, 4)),
    "subthalamic-nucleus": ((19, 34, 27), (3.5, 4, 2.2)),
}
CHI = {"substantia-nigra": 0.13, "red-nucleus": 0.10, "subthalamic-nucleus": 0.10}
NUMBERS = {n: (name, side) for n, (name, side) in enumerate(((m, s) for m in PLACES for s in "LR"), 1)}
NAMES = {n: name for n, (name, _) in NUMBERS.items()}


def ellipsoid(name, side, shift=(0, 0, 0), scale=1.0):
    (x, y, z), axes = PLACES[name]
    centre = np.array([x if side == "L" else SHAPE[0] - 1 - x, y, z], float) + shift
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    return (((grid - centre) / (np.array(axes) * scale)) ** 2).sum(-1) < 1


def expected():
    return {n: ellipsoid(*NUMBERS[n]) for n in NUMBERS}


def head(shifts=None, scale=None, missing=(), noise=0.012, seed=0):
    rng = np.random.default_rng(seed)
    chi = np.full(SHAPE, -0.02)
    shifts, scale = shifts or {}, scale or {}
    for n, (name, side) in NUMBERS.items():
        if n not in missing:
            chi[ellipsoid(name, side, shifts.get(n, (0, 0, 0)), scale.get(n, 1.0))] = CHI[name]
    return (chi + noise * rng.standard_normal(SHAPE)).astype(np.float32)


def search(chi, known=None):
    return find_nuclei(expected(), NAMES, chi, np.ones(SHAPE, bool) if known is None else known, 1.0)


def off(found, shifts):
    return {n: np.linalg.norm(np.array(found[n].shift) - shifts.get(n, (0, 0, 0))) for n in found}


def test_nuclei_where_the_t1w_has_them_stay():
    found = search(head())
    assert max(off(found, {}).values()) <= 1.0
    assert not any(placed.doubt for placed in found.values())


@pytest.mark.parametrize("shift", [(0, 0, 8), (0, -6, 5), (3, 4, -8), (0, 0, -10)])
def test_all_together_up_to_ten_millimetres_away(shift):
    shifts = dict.fromkeys(NUMBERS, shift)
    assert max(off(search(head(shifts)), shifts).values()) <= 1.5


def test_at_another_height_relative_to_each_other():
    shifts = {n: (0, 0, 5 if NAMES[n] == "red-nucleus" else 7) for n in NUMBERS}
    found = search(head(shifts))
    assert max(off(found, shifts).values()) <= 1.5


@pytest.mark.parametrize("scale", [0.8, 1.26])
def test_of_half_and_twice_the_volume(scale):
    shifts = dict.fromkeys(NUMBERS, (0, 3, 6))
    found = search(head(shifts, dict.fromkeys(NUMBERS, scale)))
    assert max(off(found, shifts).values()) <= 1.8


def test_a_group_that_does_not_fit_is_given_the_size_that_does():
    shifts = dict.fromkeys(NUMBERS, (0, 3, 6))
    found = search(head(shifts, dict.fromkeys(NUMBERS, 0.8)))
    assert {placed.scale for placed in found.values()} == {0.8}
    assert {placed.scale for placed in search(head()).values()} == {1.0}
    body = ellipsoid("red-nucleus", "L")
    for scale, volume in ((0.8, 0.51), (1.26, 2.0)):
        grown = scaled(body, scale)
        assert grown.sum() / body.sum() == pytest.approx(volume, rel=0.1)
        assert np.abs(np.argwhere(grown).mean(0) - np.argwhere(body).mean(0)).max() < 0.2


def test_one_that_is_missing_stays_and_is_marked_and_takes_no_other():
    shifts = dict.fromkeys(NUMBERS, (0, 0, 8))
    gone = next(n for n, pair in NUMBERS.items() if pair == ("red-nucleus", "L"))
    found = search(head(shifts, missing=[gone]))
    assert found[gone].doubt == "not visible in chi"
    assert found[gone].shift == (0, 0, 0)
    del found[gone]
    assert max(off(found, shifts).values()) <= 1.5


def test_a_bleed_does_not_draw_a_nucleus_to_it():
    chi = head()
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    chi[((grid - (20, 30, 14)) ** 2).sum(-1) < 2.5**2] = 1.4
    assert max(off(search(chi), {}).values()) <= 1.5


def test_without_iron_all_stay_and_are_marked():
    found = search(np.random.default_rng(1).normal(0, 0.012, SHAPE).astype(np.float32))
    assert all(placed.doubt and placed.shift == (0, 0, 0) for placed in found.values())


def test_what_the_map_does_not_cover_is_marked():
    known = np.ones(SHAPE, bool)
    known[:, :, 23:] = False
    found = search(head(), known)
    names = {NAMES[n] for n, placed in found.items() if placed.doubt}
    assert "subthalamic-nucleus" in names
    assert "substantia-nigra" not in names


def test_displaced_nuclei_are_labelled_where_chi_shows_them():
    labels, model = np.zeros(SHAPE, np.int32), np.full(SHAPE, -0.02, np.float32)
    for n, mask in expected().items():
        labels[mask], model[mask] = n, CHI[NAMES[n]]
    regions = tuple(Region(n, name, side, "nucleus") for n, (name, side) in NUMBERS.items())
    t1w = Image(np.ones(SHAPE, np.float32), np.eye(4))
    atlas = Atlas("phantom", t1w, t1w.with_array(labels), regions, t1w.with_array(model))
    shifts = dict.fromkeys(NUMBERS, (0, 0, 8))
    chi, mask = t1w.with_array(head(shifts)), np.ones(SHAPE, bool)
    stay = Alignment(Transform(), "header", 0.0, 0.0)
    placed = place_nuclei(atlas, Transform(), stay, chi, mask)
    assert placed is not None
    refine = refine_nuclei_borders(placed, chi, mask)
    found = labels_on_scan(
        atlas.labels,
        Transform(),
        chi.grid,
        nuclei=placed.labels,
        nuclei_to_scan=placed.transform,
        refine_borders=refine,
    )
    for n, (name, side) in NUMBERS.items():
        true = ellipsoid(name, side, shifts[n])
        assert 2 * (true & (found == n)).sum() / (true.sum() + (found == n).sum()) > 0.8, (name, side)
