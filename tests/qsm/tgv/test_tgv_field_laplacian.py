"""What of the echoes is combined on the way to the Laplacian of the field."""

import numpy as np
import pytest
from echo_phantom import echo_phantom

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.tgv import measured_laplacian

TIMES = (0.004, 0.009, 0.014, 0.019)


@pytest.fixture(scope="module")
def scan():
    return echo_phantom(TIMES, size=32, noise_level=0.0005, peak=80.0, difference=(0.4, 0.01, 0.0, 0.005))


def measured(scan, combination):
    return measured_laplacian(
        scan.magnitude, scan.phase, TIMES, field_strength=3.0, voxel_size=scan.voxel_size, mask=scan.mask,
        bipolar=True, combination=combination,
    )  # fmt: skip


@pytest.mark.parametrize("combination", ["field", "laplacian", "maps"])
def test_every_combination_gives_the_laplacian_of_the_field(scan, combination):
    field = scan.field / hz_per_ppm(3.0)
    true = sum(
        (np.roll(field, 1, axis) + np.roll(field, -1, axis) - 2 * field) / edge**2
        for axis, edge in enumerate(scan.voxel_size)
    )
    found = measured(scan, combination)
    inside = scan.mask & (np.roll(scan.mask, 2, 0) & np.roll(scan.mask, -2, 0))
    laplacian = np.atleast_3d(found.laplacian.T).T.reshape(*true.shape, -1)
    errors = np.median(np.abs(laplacian[inside] - true[inside][:, None]), axis=0)
    assert (errors < 0.1 * true[inside].std()).all()
    assert laplacian.shape[-1] == (4 if combination == "maps" else 1)


def test_single_echoes_are_noisier_than_the_fitted_field(scan):
    field, echoes = measured(scan, "field").noise[scan.mask], measured(scan, "maps").noise[scan.mask]
    assert (echoes >= field[:, None]).all()
    # the early echo says least
    first, *_, last = np.median(echoes, axis=0)
    assert first > 1.5 * last
