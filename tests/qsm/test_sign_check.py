import numpy as np
import pytest

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.sign_check import SignCheck, check_sign, sign_warnings

SHAPE, VOXEL, CONTRAST = (40, 44, 36), (4.0, 3.0, 5.0), 9.4
GRID = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2


def head_with_sinus():
    inside = ((GRID / np.array([14, 17, 13])[:, None, None, None]) ** 2).sum(axis=0) < 1
    x, y, z = GRID
    return inside & ((x**2 + (y - 10) ** 2 + (z + 4) ** 2) > 16)


@pytest.mark.parametrize("b0", [(0.0, 0.0, 1.0), (0.3, -0.4, np.sqrt(0.75))])
@pytest.mark.parametrize("factor", [1, -1, 1000])
def test_sign_and_contrast_of_an_object_in_air(b0, factor):
    mask = head_with_sinus()
    field = forward_field(-CONTRAST * mask.astype(np.float32), voxel_size=VOXEL, b0_direction=b0)
    x, y, z = GRID
    shim = 1.3 + 0.02 * x - 0.01 * y * z + 0.004 * z**2
    found = check_sign(
        (factor * (field + shim)).astype(np.float32), mask, mask, voxel_size=VOXEL, b0_direction=b0
    )
    assert found is not None
    # exact but for blocks of voxels in one direction, the end of the image, and clipped outliers
    assert found.correlation == pytest.approx(np.sign(factor), abs=0.01)
    assert found.contrast == pytest.approx(CONTRAST * factor, rel=0.02)
    told = [warning.split(".")[0] for warning in sign_warnings(found)]
    assert (
        told
        == {
            1: [],
            -1: ["The sign of the phase seems to be inverted"],
            1000: ["The field is implausibly large: echo times or phase are in the wrong unit"],
        }[factor]
    )


def test_what_the_image_cuts_off_is_taken_to_go_on():
    mask = head_with_sinus()
    field = forward_field(-CONTRAST * mask.astype(np.float32), voxel_size=VOXEL, b0_direction=(0, 0, 1))
    slab = slice(10, 28)
    found = check_sign(
        field[:, :, slab], mask[:, :, slab], mask[:, :, slab], voxel_size=VOXEL, b0_direction=(0, 0, 1)
    )
    assert found is not None
    assert found.correlation > 0.6


def test_an_image_without_an_outline_tells_nothing():
    mask = np.ones((20, 20, 20), bool)
    field = np.random.default_rng(0).normal(0, 1, mask.shape).astype(np.float32)
    found = check_sign(field, mask, mask, voxel_size=VOXEL, b0_direction=(0, 0, 1))
    assert sign_warnings(found) == ()
    assert check_sign(field, ~mask, mask, voxel_size=VOXEL, b0_direction=(0, 0, 1)) is None
    assert sign_warnings(None) == ()


def test_a_small_contrast_is_a_wrong_unit_too():
    assert "implausibly small" in sign_warnings(SignCheck(0.5, 0.003))[0]


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="differ"):
        check_sign(
            np.zeros((3, 3, 3), np.float32), np.ones((3, 3, 3), bool), np.ones((3, 3, 2), bool),
            voxel_size=VOXEL, b0_direction=(0, 0, 1),
        )  # fmt: skip
