import numpy as np
import pytest

from qsmxt_app.qsm.two_pass import combine_two_pass, strong_holes


@pytest.fixture
def passes():
    random = np.random.default_rng(8)
    chi = random.normal(0, 0.02, (12, 12, 12)).astype(np.float32)
    filled = np.zeros(chi.shape, bool)
    filled[2:10, 2:10, 2:10] = True
    reliable = filled.copy()
    reliable[5:7, 5:7, 5:7] = False
    return chi, reliable, filled


def test_each_pass_fills_its_part_and_the_constant_between_them_goes(passes):
    chi, reliable, filled = passes
    combined = combine_two_pass(chi, chi + np.float32(0.7), reliable, filled)
    np.testing.assert_array_equal(combined[reliable], chi[reliable])
    np.testing.assert_allclose(combined[filled], chi[filled], atol=1e-6)
    assert not combined[~filled].any()


def test_streaks_of_the_second_pass_stay_out_of_the_reliable_part(passes):
    chi, reliable, filled = passes
    second = chi.copy()
    second[2:5] += 0.5
    second[7:10] -= 0.5
    combined = combine_two_pass(chi, second, reliable, filled)
    np.testing.assert_array_equal(combined[reliable], chi[reliable])


def test_a_voxel_that_only_the_first_pass_has_is_kept(passes):
    chi, reliable, filled = passes
    reliable[10, 5, 5] = True
    assert combine_two_pass(chi, chi, reliable, filled)[10, 5, 5] == chi[10, 5, 5]


def test_masks_must_meet_and_fit(passes):
    chi, reliable, filled = passes
    with pytest.raises(ValueError, match="share no voxel"):
        combine_two_pass(chi, chi, ~filled, filled)
    with pytest.raises(ValueError, match="one shape"):
        combine_two_pass(chi, chi[1:], reliable, filled)


def test_holes_of_bleeds_and_bone_are_left_out_and_those_of_veins_are_not(passes):
    chi, reliable, filled = passes
    reliable[3, 3:9, 3] = False  # a vein
    bleed = filled & ~reliable
    bleed[3] = False
    for sign in (1, -1):
        chi[3, 3:9, 3] = 0.4 * sign
        chi[5, 5, 5] = 1.1 * sign  # the middle alone: what the source is, does not depend on its border
        chi[9, 9, 9] = 2.0  # strong, but with reliable phase
        np.testing.assert_array_equal(strong_holes(chi, filled, reliable), bleed)
    chi[5, 5, 5] = 0.3
    assert not strong_holes(chi, filled, reliable).any()
    assert not strong_holes(chi, filled, filled).any()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_strong_source_keeps_the_part_of_it_beside_its_hole(passes, sign):
    chi, reliable, filled = passes
    chi[:] = 0
    second = chi.copy()
    second[5:7, 5:7, 5:8] = sign * 0.8  # one layer more than the hole
    second[4, 5, 5] = sign * 0.3  # the rim of the source: less than half
    second[2, 2, 2] = sign * 0.8  # strong, but beside no hole
    combined = combine_two_pass(chi, second, reliable, filled)
    shift = combined[5, 5, 5] - second[5, 5, 5]
    np.testing.assert_allclose(combined[5:7, 5:7, 7], sign * 0.8 + shift, atol=1e-6)
    assert combined[4, 5, 5] == 0
    assert combined[2, 2, 2] == 0


def test_a_hole_without_a_strong_source_does_not_grow(passes):
    chi, reliable, filled = passes
    second = np.full_like(chi, 0.05)
    second[4:8, 4:8, 4:8] = 0.09
    combined = combine_two_pass(chi, second, reliable, filled)
    np.testing.assert_array_equal(combined[reliable], chi[reliable])
