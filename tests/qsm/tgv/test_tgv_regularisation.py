"""How regularisation follows noise and voxel size."""

import numpy as np
import pytest

from qsmxt_app.qsm.tgv import TGVOptions
from qsmxt_app.qsm.tgv.regularisation import (
    REFERENCE_RAD_PER_PPM,
    relative_weight,
    returned_share,
    scaled_alpha,
    scaled_slack,
)

OPTIONS = TGVOptions(alpha=(0.3, 0.2), model_error=0.0, slack=(0.2, 2.0))


def test_alpha_is_in_proportion_to_noise_and_to_the_voxels_edge():
    at_home = scaled_alpha(OPTIONS, OPTIONS.calibration_noise, (2.0, 2.0, 2.0))
    assert at_home == pytest.approx([a / REFERENCE_RAD_PER_PPM for a in OPTIONS.alpha])
    noisy = scaled_alpha(OPTIONS, 3 * OPTIONS.calibration_noise, (2.0, 2.0, 2.0))
    assert noisy == pytest.approx([3 * a for a in at_home])
    small = scaled_alpha(OPTIONS, OPTIONS.calibration_noise, (0.5, 1.0, 2.0))
    assert small == pytest.approx([a / 2 for a in at_home])


def test_alpha_does_not_vanish_with_the_noise():
    options = TGVOptions()
    assert (
        scaled_alpha(options, 0.0, (2.0, 2.0, 2.0))[0] > 0.1 * scaled_alpha(options, None, (2.0, 2.0, 2.0))[0]
    )


def test_alpha_stands_as_given_without_noise():
    assert scaled_alpha(OPTIONS, None, (1.0, 1.0, 1.0)) == pytest.approx(
        [a / REFERENCE_RAD_PER_PPM for a in OPTIONS.alpha]
    )


@pytest.mark.parametrize(
    ("edge", "factor"), [(2.0, 1.0), (1.0, 0.25), (1.5, 0.5625), (0.4, 0.25), (4.0, 1.0)]
)
def test_slack_is_cheaper_in_small_voxels_as_far_as_measured(edge, factor):
    assert scaled_slack(OPTIONS, (edge,) * 3) == pytest.approx([factor * 0.2, factor * 2.0])


def test_no_slack_stays_none():
    assert scaled_slack(TGVOptions(slack=()), (1.0, 1.0, 1.0)) == ()


def test_weights_are_inverse_variances_within_bounds():
    noise = np.array([1.0, 1.0, 1.0, 2.0, 0.1, np.nan, 0.0], np.float32).reshape(1, 1, 7)
    weight, level = relative_weight(noise, np.ones(noise.shape, bool), OPTIONS)
    assert level == 1.0
    low, high = OPTIONS.weight_floor, OPTIONS.weight_ceiling
    assert weight.ravel() == pytest.approx([1, 1, 1, 0.25, high, low, low])


@pytest.mark.parametrize(
    ("noise", "edge", "share"),
    [(0.001, 2, 0), (0.00175, 2, 0.5), (0.0035, 1, 0.5), (0.005, 2, 1), (0.009, 2, 0.5), (0.015, 3, 0)],
)
def test_residual_is_given_back_at_moderate_noise_times_edge(noise, edge, share):
    options = TGVOptions(returned_share=1.2)
    assert returned_share(options, noise, (edge,) * 3) == pytest.approx(1.2 * share)
    assert returned_share(options, None, (edge,) * 3) == 0
