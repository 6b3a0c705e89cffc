import numpy as np
import pytest

from qsmxt_app.qsm.reference import reference_chi


@pytest.fixture
def chi_and_mask():
    chi = np.arange(27, dtype=np.float32).reshape(3, 3, 3) / 10
    mask = np.zeros(chi.shape, bool)
    mask[0] = True
    return chi, mask


def test_the_mean_over_the_mask_becomes_zero(chi_and_mask):
    chi, mask = chi_and_mask
    referenced = reference_chi(chi, mask)
    assert referenced.value == pytest.approx(0.4)  # mean of 0.0, 0.1 ... 0.8
    assert referenced.chi[mask].mean() == pytest.approx(0, abs=1e-7)
    assert not referenced.chi[~mask].any()
    assert referenced.chi.dtype == np.float32


def test_no_reference_leaves_the_values(chi_and_mask):
    chi, mask = chi_and_mask
    referenced = reference_chi(chi, mask, "none")
    assert referenced.value == 0
    np.testing.assert_array_equal(referenced.chi, np.where(mask, chi, 0))


def test_a_region_counts_only_inside_the_mask(chi_and_mask):
    chi, mask = chi_and_mask
    region = np.zeros(chi.shape, np.int16)
    region[:, 0, :2] = 7  # 0.0 and 0.1 inside the mask, four more voxels outside
    assert reference_chi(chi, mask, region).value == pytest.approx(0.05)


def test_the_mean_of_many_voxels_is_not_rounded_away():
    chi = np.full((160, 160, 160), 9.4, np.float32)
    chi[..., ::2] = -9.2
    assert reference_chi(chi, np.ones(chi.shape, bool)).value == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(
    ("reference", "message"),
    [("median", "'median'"), (np.zeros((3, 3, 3)), "no voxel"), (np.ones((2, 2, 2)), "shape")],
)
def test_references_that_cannot_be(chi_and_mask, reference, message):
    with pytest.raises(ValueError, match=message):
        reference_chi(*chi_and_mask, reference)


def test_an_empty_mask_is_refused(chi_and_mask):
    chi, mask = chi_and_mask
    with pytest.raises(ValueError, match="empty"):
        reference_chi(chi, mask & False)
