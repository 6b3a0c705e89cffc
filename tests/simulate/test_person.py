"""The people: plausible anatomy, and one person not like another."""

from dataclasses import replace

import numpy as np
import pytest

from qsmxt_app.simulate import DEEP_GREY_NUCLEI
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.tissues import LABELS, TISSUES
from qsmxt_app.simulate.volume import Volume

# Volume of one side in ml. Wide: the template is larger than most heads, and every person is deformed.
VOLUMES = {
    "Caudate": (2.5, 8), "Putamen": (3, 10), "Globus-Pallidus-External": (0.5, 2.5),
    "Globus-Pallidus-Internal": (0.2, 1.2), "Thalamus": (5, 14), "Substantia-Nigra": (0.2, 1.2),
    "Red-Nucleus": (0.15, 0.8), "Subthalamic-Nucleus": (0.08, 0.4), "Dentate-Nucleus": (0.5, 2.5),
}  # fmt: skip


def deep_box(person, spacing=1.0):
    shape = (int(80 / spacing), int(130 / spacing), int(90 / spacing))
    return sample_anatomy(person, np.array([-40.0, -85.0, -50.0]), np.eye(3) * spacing, shape)


@pytest.fixture(scope="module")
def box(person):
    return deep_box(person)


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("side", ["Left", "Right"])
def test_nuclei_have_plausible_volumes(box, name, side):
    low, high = VOLUMES[name]
    assert low < (box[0] == LABELS[f"{side}-{name}"]).sum() / 1000 < high


@pytest.mark.parametrize("name", DEEP_GREY_NUCLEI)
def test_chi_of_nuclei_is_theirs_and_varies_inside(person, box, name):
    tissue, chi, _ = box
    for number in DEEP_GREY_NUCLEI[name]:
        expected = TISSUES[number]
        assert abs(person.chi[number] - expected.chi) < 4 * expected.chi_between
        values = chi[tissue == number]
        assert values.mean() == pytest.approx(person.chi[number], abs=expected.chi_within)
        assert 0.4 * expected.chi_within < values.std() < 1.6 * expected.chi_within


def test_two_people_differ(person, box):
    other = make_person(31, 2)
    assert np.linalg.norm(other.chi - person.chi) > 0.01
    tissue, _, _ = deep_box(other)
    for name in ("Putamen", "Thalamus"):
        a, b = (np.isin(t, DEEP_GREY_NUCLEI[name]) for t in (box[0], tissue))
        dice = 2 * (a & b).sum() / (a.sum() + b.sum())
        assert 0.3 < dice < 0.95, name


@pytest.fixture(scope="module")
def undeformed(person):
    still = tuple(Volume(np.zeros((3, 3, 3), np.float32), np.full(3, -200.0), 200.0) for _ in range(3))
    return replace(person, scale=np.ones(3), displacement=still)


def test_lesions_are_balls_of_the_right_size(undeformed):
    for x, y, z, radius, number in undeformed.lesions:
        spacing = 0.2
        origin = np.array([x, y, z]) - 20 * spacing + 0.03
        tissue, chi, _ = sample_anatomy(undeformed, origin, np.eye(3) * spacing, (41, 41, 41))
        inside = tissue == number
        assert inside.sum() * spacing**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)
        assert np.all(chi[inside] == undeformed.chi[int(number)])
    names = {TISSUES[int(number)].name for number in undeformed.lesions[:, 4]}
    assert names == {"Calcification", "Microbleed"}
    assert undeformed.chi[LABELS["Calcification"]] < -1.5
    assert undeformed.chi[LABELS["Microbleed"]] > 0.7


def test_straight_sinus_has_its_diameter(undeformed):
    # on the quadratic curve through (0, -38, 2), (0, -58, -4), (0, -80, -12), halfway: radius 1.9 mm
    along = np.array([0.0, -42.0, -14.0]) / np.hypot(42, 14)
    across = np.array([0.0, along[2], -along[1]])
    points = np.array([0.0, -58.5, -4.5]) + np.arange(-4, 4, 0.05)[:, None] * across
    origin = points[0]
    line, _, _ = sample_anatomy(
        undeformed, origin, np.column_stack([np.eye(3)[0], np.eye(3)[1], 0.05 * across]), (1, 1, len(points))
    )
    assert (line == LABELS["Vein"]).sum() * 0.05 == pytest.approx(3.8, abs=0.5)
    assert undeformed.chi[LABELS["Vein"]] > 0.2


def test_layers_of_the_head_from_outside_inwards(undeformed):
    """Up from the top of the brain: fluid or brain, bone, scalp, air."""
    tissue, chi, brain = sample_anatomy(
        undeformed, np.array([30.0, -20.0, 0.0]), np.diag([1.0, 1.0, 0.25]), (1, 1, 480)
    )
    line = [TISSUES[number] for number in tissue[0, 0]]
    order = [t.name for i, t in enumerate(line) if i == 0 or t is not line[i - 1]]
    bone = [i for i, t in enumerate(line) if t.name in ("Bone", "Marrow")]
    assert not brain[0, 0, bone[0] :].any()
    assert 2.0 < len(bone) * 0.25 < 12.0
    assert order[-2:] == ["Skin", "Background"]
    assert set(order[order.index("Bone") :]) <= {"Bone", "Marrow", "Fat", "Muscle", "Skin", "Background"}
    assert chi[0, 0, bone].max() < -0.4
    assert chi[0, 0, -1] == pytest.approx(9.4)


def test_cortex_is_folded(box, person):
    """A folded sheet has far more border with white matter than a smooth shell of the same volume."""
    spacing = 1.0
    tissue, _, brain = sample_anatomy(
        person, np.array([-80.0, -110.0, 20.0]), np.eye(3) * spacing, (160, 190, 1)
    )
    cortex = np.isin(tissue[..., 0], [LABELS["Left-Cerebral-Cortex"], LABELS["Right-Cerebral-Cortex"]])
    white = np.isin(
        tissue[..., 0], [LABELS["Left-Cerebral-White-Matter"], LABELS["Right-Cerebral-White-Matter"]]
    )
    border = (cortex[1:] & white[:-1]).sum() + (cortex[:-1] & white[1:]).sum()
    border += (cortex[:, 1:] & white[:, :-1]).sum() + (cortex[:, :-1] & white[:, 1:]).sum()
    hull = (brain[1:, :, 0] != brain[:-1, :, 0]).sum() + (brain[:, 1:, 0] != brain[:, :-1, 0]).sum()
    assert border > 1.5 * hull
