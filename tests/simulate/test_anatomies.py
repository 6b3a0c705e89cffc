"""What the adult and the elderly head hold beyond the basic one."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.tissues import LABELS
from qsmxt_app.simulate.volume import HEAD_BOX, grid_shape

SEED = 37
EDGE = 2.0
VEIN = LABELS["Vein"]


def sampled(anatomy):
    person = make_person(SEED, 1, anatomy)
    return person, *sample_anatomy(person, HEAD_BOX[0], EDGE * np.eye(3), grid_shape(HEAD_BOX, EDGE))


@pytest.fixture(scope="module")
def heads():
    return {name: sampled(name) for name in ("basic", "adult", "elderly")}


def upper_rim(brain):
    """The outermost 4 mm of the brain above its middle, where veins of the convexity run."""
    depth = EDGE * distance_transform_edt(brain)
    above = HEAD_BOX[0][2] + EDGE * np.arange(brain.shape[2]) > 15
    return brain & (depth <= 4) & above


def test_veins_lie_in_the_rim_of_an_adult_brain(heads):
    shares = {}
    for name, (_, tissue, chi, brain) in heads.items():
        rim = upper_rim(brain)
        shares[name] = np.mean(tissue[rim] == VEIN)
        if name == "adult":
            assert chi[rim & (tissue == VEIN)].mean() > 0.25
    assert shares["basic"] < 0.005
    assert 0.01 < shares["adult"] < 0.1


def test_veins_are_of_the_size_that_blood_has_in_a_brain(heads):
    _, tissue, _, brain = heads["adult"]
    added = np.count_nonzero((tissue == VEIN) & brain) - np.count_nonzero(
        (heads["basic"][1] == VEIN) & heads["basic"][3]
    )
    assert 2 < added * EDGE**3 / 1000 < 20


def test_people_of_both_anatomies_are_the_same_inside(heads):
    basic, adult = heads["basic"], heads["adult"]
    np.testing.assert_array_equal(basic[0].chi, adult[0].chi)
    np.testing.assert_array_equal(basic[3], adult[3])
    changed = (basic[1] != adult[1]) & basic[3]
    assert (adult[1][changed] == VEIN).all()


def test_air_spaces_differ_from_person_to_person(heads):
    factors = heads["adult"][0].cavities[:, 3:] / heads["basic"][0].cavities[:, 3:]
    assert 0.1 < np.log(factors[:, 0]).std() < 0.35
    other = make_person(SEED, 2, "adult").cavities
    assert not np.allclose(other, heads["adult"][0].cavities)


def test_dura_lies_between_brain_and_bone(heads):
    _, tissue, _, brain = heads["adult"]
    dura = tissue == LABELS["Dura"]
    assert dura.sum() > 1000
    assert not (dura & brain).any()
    assert not (heads["basic"][1] == LABELS["Dura"]).any()


def test_the_elderly_have_more_fluid_and_iron(heads):
    def millilitres(name, *labels):
        _, tissue, _, brain = heads[name]
        return np.count_nonzero(np.isin(tissue, [LABELS[label] for label in labels]) & brain) * EDGE**3 / 1000

    assert millilitres("elderly", "Ventricles") > 1.3 * millilitres("adult", "Ventricles")
    assert millilitres("elderly", "CSF") > 1.2 * millilitres("adult", "CSF")
    putamen = LABELS["Left-Putamen"]
    assert heads["elderly"][0].chi[putamen] == pytest.approx(1.2 * heads["adult"][0].chi[putamen], rel=1e-5)
