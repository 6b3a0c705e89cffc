import subprocess
import sys

import numba
import numpy as np
import pytest
from echo_phantom import wrapped

from qsmxt_app.qsm.unwrapping.laplacian import unwrap_laplacian
from qsmxt_app.qsm.unwrapping.residues import phase_residues
from qsmxt_app.qsm.unwrapping.romeo import SMALLEST_REGION, unwrap_echoes, unwrap_romeo

VOXEL = (0.8, 1.0, 2.0)


def quadratic(shape=(50, 44, 30)):
    x, y, z = np.meshgrid(
        *[(np.arange(n) - n / 2) * v for n, v in zip(shape, VOXEL, strict=True)], indexing="ij"
    )
    # harmonic, and up to 2 rad between neighbours
    phase = 0.03 * (x**2 + y**2 - 2 * z**2) / 2 + 0.3 * x - 0.2 * y + 0.4
    mask = (x / 18) ** 2 + (y / 20) ** 2 + (z / 27) ** 2 < 1
    mask &= ~((x - 5) ** 2 + (y - 15) ** 2 + (z + 5) ** 2 < 6**2)
    return phase, mask


def turns_apart(unwrapped, true):
    difference = unwrapped - true
    return difference - 2 * np.pi * np.rint(np.median(difference) / (2 * np.pi))


def test_laplacian_unwraps_anisotropic_quadratic_phase_inside_a_mask():
    phase, mask = quadratic()
    assert np.ptp(phase[mask]) > 4 * np.pi
    found = unwrap_laplacian(
        wrapped(phase).astype(np.float32), mask=mask, voxel_size=VOXEL, tolerance=1e-5, max_iterations=200
    )
    assert np.abs(turns_apart(found[mask], phase[mask])).max() < 0.05
    assert not found[~mask].any()


def test_laplacian_is_blind_to_noise_outside_the_mask():
    phase, mask = quadratic()
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, phase.shape)
    quiet = unwrap_laplacian(wrapped(phase).astype(np.float32), mask=mask, voxel_size=VOXEL)
    loud = unwrap_laplacian(
        np.where(mask, wrapped(phase), noise).astype(np.float32), mask=mask, voxel_size=VOXEL
    )
    np.testing.assert_array_equal(quiet, loud)


def test_romeo_adds_whole_turns_only_and_finds_the_phase():
    phase, mask = quadratic()
    stored = wrapped(phase).astype(np.float32)
    found = unwrap_romeo(stored, mask=mask)
    turns = (found - stored)[mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)
    assert np.abs(turns_apart(found[mask], phase[mask])).max() < 1e-4
    assert not found[~mask].any()


def test_romeo_goes_around_where_a_fringe_ends():
    """The turn between both sides of an open fringe is found along the way around, not through its noise."""
    x, y, _ = np.meshgrid(*[np.arange(n) - n / 2 for n in (40, 36, 12)], indexing="ij")
    true = (0.8 * x).astype(np.float32)
    noisy = (np.abs(y) < 3) & (x > -12)
    rng = np.random.default_rng(0)
    stored = np.where(noisy, rng.uniform(-np.pi, np.pi, true.shape), wrapped(true)).astype(np.float32)
    magnitude = np.where(noisy, rng.uniform(0.02, 0.2, true.shape), 1).astype(np.float32)
    for guide in (magnitude, None):
        found = unwrap_romeo(stored, np.ones(true.shape, bool), magnitude=guide)
        assert np.abs(turns_apart(found[~noisy], true[~noisy])).max() < 1e-3


def test_a_second_echo_tells_steep_gradients_from_hidden_turns():
    """Two bridges between two blocks: a single step of more than a turn, and three steep ones."""
    step = 0.5 + 2 * np.pi
    true = np.zeros((15, 10, 3))
    true[10:] = true[7:, 0] = step
    true[5:10, 9] = np.array([0, 1 / 3, 2 / 3, 1, 1])[:, None] * step
    mask = np.ones(true.shape, bool)
    mask[5:10, 1:9] = False
    stored = wrapped(true).astype(np.float32)
    deceived = unwrap_romeo(stored, mask)
    assert deceived[-1, 5, 1] - deceived[0, 5, 1] == pytest.approx(0.5, abs=1e-4)
    early = (true / 4).astype(np.float32)
    found = unwrap_romeo(stored, mask, second=early, time_ratio=4)
    assert found[-1, 5, 1] - found[0, 5, 1] == pytest.approx(step, abs=1e-4)
    with pytest.raises(ValueError, match="together"):
        unwrap_romeo(stored, mask, second=early)


def test_specks_keep_their_phase_and_pieces_are_centred():
    rng = np.random.default_rng(1)
    mask = np.zeros((30, 30, 30), bool)
    mask[2:12, 2:12, 2:12] = True
    mask[20, 20, 20 : 20 + SMALLEST_REGION - 1] = True
    mask[25, 25, 20 : 20 + SMALLEST_REGION] = True
    true = np.broadcast_to(2.0 * np.arange(30), mask.shape) + rng.uniform(-0.1, 0.1, mask.shape)
    stored = wrapped(true).astype(np.float32)
    found = unwrap_romeo(stored, mask)
    np.testing.assert_array_equal(found[20, 20], np.where(mask[20, 20], stored[20, 20], 0))
    for piece in (np.s_[:15], np.s_[25:26]):
        values, expected = found[piece][mask[piece]], true[piece][mask[piece]]
        assert abs(np.median(values)) <= np.pi + 0.1
        assert np.abs(turns_apart(values, expected)).max() < 1e-3


def test_romeo_does_not_depend_on_threads_or_on_where_the_mask_lies():
    rng = np.random.default_rng(2)
    phase = rng.uniform(-np.pi, np.pi, (20, 22, 24)).astype(np.float32)
    mask, magnitude = rng.random(phase.shape) < 0.7, rng.random(phase.shape).astype(np.float32)
    all_threads, results = numba.get_num_threads(), []
    for threads in (1, all_threads):
        numba.set_num_threads(threads)
        results.append(unwrap_romeo(phase, mask, magnitude=magnitude))
    numba.set_num_threads(all_threads)
    np.testing.assert_array_equal(*results)
    turns = (results[0] - phase)[mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)


def test_huge_phase_is_no_danger():
    phase = np.linspace(-1e6, 1e6, 1000, dtype=np.float32).reshape(10, 10, 10)
    assert np.isfinite(unwrap_romeo(phase, np.ones(phase.shape, bool))).all()


def test_memory_of_romeo_is_bounded():
    """Noise is the hardest: every voxel waits in the queue for long."""
    script = """
import resource
import numpy as np
from qsmxt_app.qsm.unwrapping.romeo import unwrap_romeo

rng = np.random.default_rng(0)
phase = rng.uniform(-np.pi, np.pi, (128, 128, 128)).astype(np.float32)
mask = np.ones(phase.shape, bool)
unwrap_romeo(phase[:9, :9, :9], mask[:9, :9, :9])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unwrap_romeo(phase, mask)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / phase.size)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert (
        float(done.stdout) < 80
    )  # bytes a voxel: tiles 8, result 8, region 4, queue at most 8 x 3 edges, copied


@pytest.mark.parametrize("template", [0, 1, 2])
def test_the_other_echoes_follow_the_template_in_time(template):
    field, mask = quadratic()
    times = np.array([0.005, 0.012, 0.020])
    # gradients that the last echo can follow
    true = (0.5 * (field - np.median(field[mask]))[..., None] / 0.012 * times).astype(np.float32)
    stored = wrapped(true).astype(np.float32)
    magnitude = np.ones(true.shape, np.float32)
    assert np.ptp(true[mask][:, 0]) > 2 * np.pi
    found = unwrap_echoes(stored, mask, echo_times=times, magnitude=magnitude, template=template)
    np.testing.assert_allclose(found[mask], true[mask], atol=1e-3)
    assert not found[~mask].any()
    with pytest.raises(ValueError, match="ascend"):
        unwrap_echoes(stored, mask, echo_times=times[::-1])
    with pytest.raises(ValueError, match="fit"):
        unwrap_echoes(stored, mask, echo_times=times[:2])


def test_disconnected_pieces_are_each_unwrapped():
    phase, mask = quadratic()
    mask[20:23] = False
    stored = wrapped(phase).astype(np.float32)
    for found in (
        unwrap_romeo(stored, mask=mask),
        unwrap_laplacian(stored, mask=mask, voxel_size=VOXEL, tolerance=1e-4, max_iterations=200),
    ):
        for piece in (np.s_[:20], np.s_[23:]):
            inside = mask[piece]
            error = turns_apart(found[piece][inside], phase[piece][inside])
            # the stray corner cut off by the gap may keep its own turn
            assert np.mean(np.abs(error) < 0.2) > 0.99


def test_residues_are_found_around_a_vortex_only():
    phase, mask = quadratic()
    stored = wrapped(phase).astype(np.float32)
    assert not phase_residues(stored, mask=mask).any()
    for axis in range(3):
        other = [a for a in range(3) if a != axis]
        index = np.meshgrid(*[np.arange(20) - 9.5] * 3, indexing="ij")
        vortex = np.arctan2(index[other[1]], index[other[0]]).astype(np.float32)
        found = phase_residues(vortex, mask=np.ones((20, 20, 20), bool))
        core = (np.abs(index[other[0]]) < 1) & (np.abs(index[other[1]]) < 1)
        np.testing.assert_array_equal(found, core)


@pytest.mark.parametrize(
    "unwrap",
    [lambda p, m: unwrap_laplacian(p, mask=m, voxel_size=VOXEL), lambda p, m: unwrap_romeo(p, mask=m)],
)
def test_bad_input_is_refused(unwrap):
    phase, mask = quadratic((12, 12, 12))
    phase = phase.astype(np.float32)
    with pytest.raises(ValueError, match="one shape"):
        unwrap(phase, np.ones((3, 3, 3), bool))
    with pytest.raises(ValueError, match="empty"):
        unwrap(phase, np.zeros(phase.shape, bool))
    phase[tuple(np.argwhere(mask)[0])] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        unwrap(phase, mask)
