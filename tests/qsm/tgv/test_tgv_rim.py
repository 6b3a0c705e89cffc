"""Sources that are no tissue at the mask's rim: where the signal says that they may be."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv import laplacian_of_phase, measured_laplacian, solve_tgv, sweep
from qsmxt_app.qsm.tgv.problem import build_problem
from qsmxt_app.qsm.tgv.regularisation import TGVOptions, tissue_factors
from qsmxt_app.simulate import Protocol, simulate_subject
from qsmxt_app.simulate.tissues import LABELS

UP = (0.0, 0.0, 1.0)
SLACK = (0.4, 4.0, 12.0)


def caps(mask, tissue, factors=(5.0, np.inf)):
    problem = build_problem(
        np.zeros(mask.shape, np.float32), mask, None, tissue,
        voxel_size=(1, 1, 1), b0_direction=UP, slack=SLACK, tissue_factors=factors,
    )  # fmt: skip
    rows = problem.rows
    return rows.to_volume(rows.unflatten(problem.state[sweep.CAP]))


@pytest.fixture(scope="module")
def cube():
    mask = np.zeros((16, 16, 16), bool)
    mask[2:14, 2:14, 2:14] = True
    return mask


def test_without_signal_prices_go_by_depth_alone(cube):
    for tissue in (None, np.zeros_like(cube)):
        found = caps(cube, tissue)
        np.testing.assert_allclose(found[2:6, 8, 8], [*SLACK, sweep.NO_CAP])


def test_tissue_has_a_dear_source_in_the_outermost_layer_and_none_below(cube):
    found = caps(cube, np.ones_like(cube))
    np.testing.assert_allclose(found[2:6, 8, 8], [5 * SLACK[0], *[sweep.NO_CAP] * 3])
    assert (found[~cube] == 0).all()


def test_factors_apply_to_tissue_by_depth(cube):
    found = caps(cube, np.ones_like(cube), (2.0, 3.0))
    np.testing.assert_allclose(found[2:6, 8, 8], [2 * SLACK[0], *(3 * s for s in SLACK[1:]), sweep.NO_CAP])


@pytest.mark.parametrize(
    ("noise", "factors"), [(None, (5, np.inf)), (0.001, (5, np.inf)), (0.006, (1, 1)), (0.015, (1, 1))]
)
def test_signal_counts_where_noise_is_low(noise, factors):
    assert tissue_factors(TGVOptions(), noise) == pytest.approx(factors)


def test_the_factors_change_steadily_with_noise():
    found = np.array([tissue_factors(TGVOptions(), noise) for noise in np.linspace(0.0031, 0.006, 200)])
    assert (np.diff(found, axis=0) <= 0).all()
    assert abs(np.diff(np.log(found[5:]), axis=0)).max() < 0.25


def test_each_voxel_has_the_price_of_its_own_signal(cube):
    tissue = np.ones_like(cube)
    tissue[3, 8, 8] = False
    found = caps(cube, tissue)
    assert found[3, 8, 8] == pytest.approx(SLACK[1])
    assert found[3, 8, 9] == sweep.NO_CAP


def test_the_shape_of_the_tissue_is_checked(cube):
    with pytest.raises(ValueError, match="tissue"):
        solve_tgv(
            np.ones(cube.shape, np.float32), cube, voxel_size=(1, 1, 1), b0_direction=UP, tissue=cube[1:]
        )


def test_a_vein_at_the_surface_keeps_its_value():
    """A vein of 0.3 ppm along y whose axis is two voxels deep."""
    x, y, z = np.indices((44, 44, 44)) - 21.5
    mask = x**2 + y**2 + z**2 < 18**2
    vein = (x**2 + (z - 15.5) ** 2 < 1.6**2) & (abs(y) < 6) & mask
    field = forward_field(np.float32(0.3) * vein, voxel_size=[1, 1, 1], b0_direction=UP)
    laplacian = laplacian_of_phase(field, voxel_size=(1, 1, 1), mask=mask)
    options = {"voxel_size": (1, 1, 1), "b0_direction": UP, "noise": np.full(mask.shape, 6e-4, np.float32)}
    by_depth, by_signal = (
        solve_tgv(laplacian, mask, tissue=tissue, **options).chi[vein].mean() for tissue in (None, mask)
    )
    assert by_depth < 0.26
    assert by_signal == pytest.approx(0.3, abs=0.02)


def test_veins_of_a_simulated_head_come_closer_to_the_truth():
    scan = simulate_subject(41, 1, Protocol((3.0, 3.0, 3.0), anatomy="adult"))
    truth, echoes = scan.truth, (scan.magnitude, scan.phase, scan.echo_times)
    given = {"voxel_size": scan.voxel_size, "b0_direction": scan.b0_direction}
    fit = fit_total_field(*echoes, mask=binary_dilation(truth.brain_mask), voxel_size=scan.voxel_size)
    mask = truth.brain_mask & fit.known
    measured = measured_laplacian(*echoes, field_strength=3.0, voxel_size=scan.voxel_size, mask=mask, fit=fit)
    tissue = has_tissue_signal(scan.magnitude, scan.echo_times, scan.voxel_size)
    depth = distance_transform_edt(mask)
    veins = mask & (truth.labels == LABELS["Vein"]) & (depth > 1) & (depth < 4)
    assert tissue[veins].mean() > 0.95
    found = {}
    for name, known in (("depth", None), ("signal", tissue)):
        chi = solve_tgv(measured.laplacian, mask, noise=measured.noise, tissue=known, **given).chi
        error = chi - (truth.chi - truth.chi[mask].mean())
        rim = mask & (depth <= 2) & (truth.labels != LABELS["Vein"])
        found[name] = np.linalg.norm(error[mask]), np.linalg.norm(error[rim]), error[veins].mean()
    assert found["signal"][0] < 0.95 * found["depth"][0]
    assert found["signal"][1] < found["depth"][1]
    assert found["depth"][2] < found["signal"][2] < 0.02
