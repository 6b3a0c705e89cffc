"""Sources of both kinds in one voxel: their chi is that of other heads, and R2* follows their sum."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from qsmxt_app.qsm.spin_echo import fit_r2
from qsmxt_app.simulate import Protocol, simulate_subject
from qsmxt_app.simulate.sources import STATIC_DEPHASING, static_dephasing, tissue_r2
from qsmxt_app.simulate.spin_echo import ECHO_TIMES, simulate_spin_echoes
from qsmxt_app.simulate.tissues import LABELS

SEED, SIZE = 31, (4.0, 4.0, 4.0)
"""Those of the scans that other tests share."""


@pytest.fixture(scope="module")
def mixed():
    return simulate_subject(SEED, 1, Protocol(SIZE, snr=1e6, mixed_sources=True)).truth


def inside(truth, *names):
    region = np.isin(truth.labels, [LABELS[name] for name in names])
    return binary_erosion(region) & truth.brain_mask


def test_chi_is_that_of_a_head_without_mixed_sources(mixed, scans):
    assert np.array_equal(mixed.chi, scans.straight.truth.chi)
    assert np.array_equal(mixed.total_field, scans.straight.truth.total_field)
    sources = mixed.sources
    np.testing.assert_allclose(sources.paramagnetic - sources.diamagnetic, mixed.chi, atol=1e-5)
    assert sources.paramagnetic.min() >= 0
    assert sources.diamagnetic.min() >= 0


def test_both_kinds_lie_together_in_tissue_and_none_in_fluid(mixed):
    for tissue, plus, minus in (
        ("Left-Cerebral-White-Matter", 0.017, 0.045),
        ("Left-Cerebral-Cortex", 0.033, 0.015),
        ("Left-Putamen", 0.067, 0.012),
    ):
        region = inside(mixed, tissue) if tissue != "Left-Cerebral-Cortex" else mixed.labels == LABELS[tissue]
        assert mixed.sources.paramagnetic[region].mean() == pytest.approx(plus, abs=0.02)
        assert mixed.sources.diamagnetic[region].mean() == pytest.approx(minus, abs=0.006)
    assert mixed.sources.diamagnetic[inside(mixed, "Ventricles")].mean() < 0.01


def test_r2star_is_r2_and_static_dephasing(mixed):
    region = inside(mixed, "Left-Cerebral-White-Matter", "Right-Cerebral-White-Matter")
    sources = mixed.sources
    total = (sources.paramagnetic + sources.diamagnetic)[region]
    # a tenth of the voxels may hold veins, which dephase their own signal less
    assert np.quantile(abs(sources.r2prime[region] - STATIC_DEPHASING * total), 0.9) < 0.01
    assert np.quantile(abs(mixed.r2star - sources.r2 - sources.r2prime)[region], 0.9) < 0.2


def test_a_lesion_of_iron_and_calcium_does_not_show_in_chi(mixed):
    calm = mixed.brain_mask & (abs(mixed.chi) < 0.08)
    both = np.minimum(mixed.sources.paramagnetic, mixed.sources.diamagnetic)
    assert both[calm].max() > 0.08
    assert np.quantile(both[calm], 0.999) < 0.08


def test_dephasing_grows_with_the_field_faster_than_r2():
    assert static_dephasing(7.0) == pytest.approx(7 / 3 * static_dephasing(3.0))
    assert 1 < tissue_r2(7.0)[LABELS["Left-Putamen"]] / tissue_r2(3.0)[LABELS["Left-Putamen"]] < 7 / 3
    assert tissue_r2(3.0)[[LABELS["Left-Putamen"], LABELS["Vein"]]].min() > 7


def test_spin_echoes_decay_with_r2(mixed):
    scan = simulate_spin_echoes(SEED, 1, voxel_size=SIZE)
    region = inside(mixed, "Left-Cerebral-White-Matter", "Right-Cerebral-White-Matter")
    deep = binary_erosion(region)  # the head has moved a little
    found = fit_r2(scan.images, ECHO_TIMES, mask=deep)[deep]
    true = tissue_r2(3.0)[LABELS["Left-Cerebral-White-Matter"]]
    assert np.median(found) == pytest.approx(true, rel=0.03)
    assert np.median(fit_r2(scan.images[..., 1:], ECHO_TIMES[1:], mask=deep)[deep]) == pytest.approx(
        true, rel=0.04
    )
