import numpy as np
import pytest
from echo_phantom import wrapped

from qsmxt_app.qsm.unwrapping.laplacian import unwrap_laplacian
from qsmxt_app.qsm.unwrapping.residues import phase_residues
from qsmxt_app.qsm.unwrapping.romeo import unwrap_romeo

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
