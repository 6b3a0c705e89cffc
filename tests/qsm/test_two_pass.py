import numpy as np
import pytest

from qsmxt_app.qsm.two_pass import combine_two_pass


@pytest.fixture
def passes():
    random = np.random.default_rng(8)
    chi = random.normal(0, 0.1, (12, 12, 12)).astype(np.float32)
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
