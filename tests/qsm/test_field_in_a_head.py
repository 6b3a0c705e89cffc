"""The field fit on the digital subject, whose voxels hold many frequencies as a head's do."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.simulate.subject import Protocol, simulate_subject

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("times", "bipolar"), [((0.005, 0.010, 0.015, 0.020, 0.025), False), ((0.004, 0.009, 0.014, 0.019), True)]
)
def test_field_is_at_the_noise_floor_inside_and_knows_where_it_is_not(times, bipolar):
    protocol = Protocol(voxel_size=(3.0, 3.0, 3.0), echo_times=times, bipolar=bipolar)
    head = simulate_subject(seed=5, protocol=protocol)
    mask, truth = head.truth.brain_mask, head.truth.total_field
    found = fit_total_field(
        head.magnitude, head.phase, times, mask=mask, voxel_size=head.voxel_size, bipolar=bipolar
    )
    error = found.total_field - truth
    error -= np.median(error[mask])
    slope = np.sqrt(sum(g**2 for g in np.gradient(truth)))
    interior = binary_erosion(mask, iterations=2) & (slope < np.quantile(slope[mask], 0.8))
    assert np.std(error[interior] / found.field_noise[interior]) == pytest.approx(1.0, abs=0.25)
    assert np.sqrt(np.mean(error[interior] ** 2)) < 0.01 * truth[mask].std()
    trusted = mask & (found.trust > 0.8)
    assert trusted.sum() > 0.97 * mask.sum()
    # claimed errors order the voxels: the worst tenth by claim is far worse in fact
    claimed = found.field_noise[mask]
    worst = claimed > np.quantile(claimed, 0.9)
    rms = [np.sqrt(np.mean(error[mask][part] ** 2)) for part in (worst, ~worst)]
    assert rms[0] > 5 * rms[1]
    assert np.mean(np.abs(error[trusted]) > found.period / 2) < 1e-4
