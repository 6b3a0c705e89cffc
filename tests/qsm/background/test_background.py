from functools import partial

import numpy as np
import pytest
from field_phantoms import OBLIQUE, coordinates, ellipsoid, head, sphere_field
from scipy.ndimage import binary_erosion, gaussian_filter, generate_binary_structure

from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.background.harmonic import HarmonicFields
from qsmxt_app.qsm.background.joint import joint
from qsmxt_app.qsm.background.laplace import DirichletLaplacian, stencil
from qsmxt_app.qsm.background.lbv import lbv
from qsmxt_app.qsm.background.pdf import pdf
from qsmxt_app.qsm.background.resharp import resharp
from qsmxt_app.qsm.background.spheres import sphere
from qsmxt_app.qsm.background.vsharp import vsharp
from qsmxt_app.qsm.dipole import forward_field

GEOMETRIES = [((2.0, 2.0, 2.0), (0.0, 0.0, 1.0)), ((1.5, 2.0, 3.0), OBLIQUE)]
METHODS = ["vsharp", "resharp", "ismv", "lbv", "pdf", "joint"]  # the first three average over spheres


def relative(error, reference, mask):
    return np.linalg.norm(error[mask]) / np.linalg.norm(reference[mask])


@pytest.mark.parametrize(("voxel_size", "b0"), GEOMETRIES)
@pytest.mark.parametrize(
    ("method", "allowed"),
    # the spherical mean on a grid is only nearly the value at the centre; the others meet Laplace's equation
    [("vsharp", 0.03), ("resharp", 0.03), ("ismv", 0.03), ("lbv", 2e-3), ("pdf", 2e-3), ("joint", 2e-3)],
)
def test_field_of_outer_sources_is_removed(method, allowed, voxel_size, b0):
    mask, outer, _ = head(voxel_size, b0)
    result = BACKGROUND_METHODS[method](outer, mask, voxel_size=voxel_size, b0_direction=b0)
    assert relative(result.local_field, outer, result.mask) < allowed


@pytest.mark.parametrize("method", METHODS)
def test_polynomial_harmonics_are_removed(method):
    voxel_size = (2.0, 2.0, 2.0)
    mask, _, _ = head(voxel_size)
    x, y, z = coordinates(mask.shape, voxel_size)
    harmonic = (1 + 0.1 * x + 0.01 * (x * x - z * z) + 0.01 * y * z).astype(np.float32)
    result = BACKGROUND_METHODS[method](harmonic, mask, voxel_size=voxel_size, b0_direction=(0, 0, 1))
    assert relative(result.local_field, harmonic, result.mask) < (0.01 if method in METHODS[:3] else 1e-4)


@pytest.mark.parametrize(("voxel_size", "b0"), GEOMETRIES)
@pytest.mark.parametrize(
    ("method", "allowed"),
    [("vsharp", 0.5), ("resharp", 0.7), ("ismv", 0.5), ("lbv", 0.35), ("pdf", 0.35), ("joint", 0.3)],
)
def test_field_of_inner_spheres_survives(method, allowed, voxel_size, b0):
    mask, outer, local = head(voxel_size, b0)
    result = BACKGROUND_METHODS[method](outer + local, mask, voxel_size=voxel_size, b0_direction=b0)
    assert relative(result.local_field - local, local, result.mask) < allowed
    assert np.all(result.local_field[~result.mask] == 0)


def test_joint_fit_keeps_more_of_the_field_of_a_texture_than_projection(rng):
    """Tissue that varies up to the border, made on a finer grid than it is measured on."""
    voxel_size, b0 = GEOMETRIES[1]
    mask, outer, _ = head(voxel_size, b0)
    texture = gaussian_filter(rng.standard_normal([2 * n for n in mask.shape]), 2)
    texture *= 0.03 / texture.std() * mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    fine = forward_field(texture.astype(np.float32), voxel_size=[h / 2 for h in voxel_size], b0_direction=b0)
    x, y, z = mask.shape
    local = fine.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    errors = []
    for method in ("joint", "lbv", "pdf"):
        result = BACKGROUND_METHODS[method](outer + local, mask, voxel_size=voxel_size, b0_direction=b0)
        errors.append(relative(result.local_field - local, local, mask))
    assert errors[0] < 0.9 * min(errors[1:])


def test_weighted_residual_of_pdf_is_orthogonal_to_outer_sources(rng):
    voxel_size, b0 = GEOMETRIES[1]
    mask, outer, local = head(voxel_size, b0)
    weights = rng.uniform(0.2, 2.0, mask.shape).astype(np.float32)
    residual = pdf(outer + local, mask, voxel_size=voxel_size, weights=weights, tolerance=1e-5).local_field
    source = sphere_field(mask.shape, voxel_size, b0, (0, -0.55 * mask.shape[1] * voxel_size[1], 5), 5, 1.0)
    weighted = (weights * residual)[mask]
    cosine = weighted @ source[mask] / np.linalg.norm(weighted) / np.linalg.norm(source[mask])
    unfitted = (weights * local)[mask]
    before = unfitted @ source[mask] / np.linalg.norm(unfitted) / np.linalg.norm(source[mask])
    assert abs(cosine) < 2e-3 < abs(before)


@pytest.mark.parametrize("method", METHODS)
def test_scaling_the_field_scales_the_result(method):
    mask, outer, local = head()
    field = outer + local
    remove = BACKGROUND_METHODS[method]
    if method == "joint":  # as many steps in both
        remove = partial(joint, tolerance=0, max_iterations=10)
    once = remove(field, mask, voxel_size=(2, 2, 2), b0_direction=(0, 0, 1)).local_field
    thrice = remove(-3 * field, mask, voxel_size=(2, 2, 2), b0_direction=(0, 0, 1)).local_field
    np.testing.assert_allclose(thrice, -3 * once, atol=2e-3 * np.abs(once).max())


@pytest.mark.parametrize("method", METHODS)
def test_what_lies_outside_the_mask_does_not_matter(method):
    mask, outer, local = head()
    field = outer + local
    remove = BACKGROUND_METHODS[method]
    clean = remove(field, mask, voxel_size=(2, 2, 2), b0_direction=(0, 0, 1)).local_field
    dirty = remove(
        np.where(mask, field, np.nan), mask, voxel_size=(2, 2, 2), b0_direction=(0, 0, 1)
    ).local_field
    np.testing.assert_array_equal(clean, dirty)


def test_masks_shrink_by_the_spheres_only():
    mask, outer, _ = head()
    options = {"voxel_size": (2, 2, 2), "b0_direction": (0, 0, 1)}
    for method in ("lbv", "pdf", "joint"):
        np.testing.assert_array_equal(BACKGROUND_METHODS[method](outer, mask, **options).mask, mask)
    small, large = (
        BACKGROUND_METHODS[method](outer, mask, **options).mask for method in ("resharp", "vsharp")
    )
    assert (small <= large).all()
    assert (large <= mask).all()
    assert small.sum() < large.sum() < mask.sum()
    assert lbv(outer, mask, voxel_size=(2, 2, 2), peel=1).mask.sum() < mask.sum()


def test_extension_by_multigrid_has_its_adjoint(rng):
    mask = np.pad(ellipsoid((20, 18, 22), (1, 1.5, 2), (8, 11, 18)), 2)
    fields = HarmonicFields(mask, (1, 1.5, 2))
    values = rng.standard_normal(mask.shape).astype(np.float32) * fields.border
    field = rng.standard_normal(mask.shape).astype(np.float32) * mask
    left = np.vdot(fields.extend_approximately(values), field)
    right = np.vdot(values, fields.adjoint(field))
    assert left == pytest.approx(right, rel=1e-4, abs=1e-3)


def test_multigrid_solves_against_a_sparse_direct_solver(rng):
    from scipy.sparse import lil_matrix
    from scipy.sparse.linalg import spsolve

    inside = ellipsoid((12, 11, 13), (1, 1.2, 2.0), (5, 5, 9)) & (rng.random((12, 11, 13)) > 0.05)
    inside[[0, -1]] = inside[:, [0, -1]] = inside[:, :, [0, -1]] = False
    c = stencil((1, 1.2, 2.0)).astype(float)
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    matrix = lil_matrix((inside.sum(), inside.sum()))
    coefficient = {(1, 0, 0): 1, (0, 1, 0): 2, (0, 0, 1): 3, (1, 1, 0): 4, (1, 0, 1): 5, (0, 1, 1): 6}
    for position in np.argwhere(inside):
        row = index[tuple(position)]
        matrix[row, row] = c[0]
        for step in np.ndindex(3, 3, 3):
            offset = np.array(step) - 1
            kind = coefficient.get(tuple(np.abs(offset)))
            if kind and inside[tuple(position + offset)]:
                matrix[row, index[tuple(position + offset)]] = c[kind]
    rhs = rng.standard_normal(inside.shape).astype(np.float32)
    solution = DirichletLaplacian(inside, (1, 1.2, 2.0)).solve(rhs, tolerance=1e-6)
    np.testing.assert_allclose(solution[inside], spsolve(matrix.tocsr(), rhs[inside]), rtol=1e-3, atol=1e-4)


def test_multigrid_cycle_is_symmetric_and_contracts(rng):
    inside = np.pad(ellipsoid((30, 28, 34), (1, 1, 1), (14, 12, 16)), 1)
    laplacian = DirichletLaplacian(inside, (1, 1, 1))
    x, y = (rng.standard_normal(inside.shape).astype(np.float32) * inside for _ in range(2))
    assert np.vdot(laplacian.cycle(x), y) == pytest.approx(np.vdot(x, laplacian.cycle(y)), rel=1e-3, abs=1e-2)
    after = (x - laplacian.apply(laplacian.cycle(x))) * inside
    assert np.linalg.norm(after) < 0.3 * np.linalg.norm(x)


def test_sphere_has_the_volume_and_symmetry_of_a_sphere():
    kernel = sphere(6.0, (1.0, 1.5, 2.0))
    assert kernel.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1, ::-1])
    assert 1 / kernel.max() == pytest.approx(4 / 3 * np.pi * 6**3 / 3.0, rel=0.03)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros((8, 8, 8), bool)}, "empty"),
        ({"mask": np.ones((8, 8, 7), bool)}, "shape"),
        ({"total_field": np.full((8, 8, 8), np.nan, np.float32)}, "not finite"),
        ({"total_field": np.zeros((8, 8), np.float32)}, "3 dimensions"),
        ({"voxel_size": (1, 0, 1)}, "voxel size"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    arguments = {
        "total_field": np.zeros((8, 8, 8), np.float32),
        "mask": np.ones((8, 8, 8), bool),
        "voxel_size": (1, 1, 1),
        "b0_direction": (0, 0, 1),
    } | change
    with pytest.raises(ValueError, match=message):
        BACKGROUND_METHODS[method](arguments.pop("total_field"), arguments.pop("mask"), **arguments)


def test_impossible_parameters_are_refused():
    field, mask = np.zeros((12, 12, 12), np.float32), np.ones((12, 12, 12), bool)
    options = {"voxel_size": (1, 1, 1)}
    with pytest.raises(ValueError, match="radius"):
        resharp(field, mask, radius=9, **options)
    with pytest.raises(ValueError, match="radii"):
        vsharp(field, mask, min_radius=20, **options)
    with pytest.raises(ValueError, match="peel"):
        lbv(field, mask, peel=-1, **options)
    with pytest.raises(ValueError, match="positive"):
        joint(field, mask, b0_direction=(0, 0, 1), noise=0, **options)
    with pytest.raises(ValueError, match="weights"):
        pdf(field, mask, weights=-np.ones_like(field), **options)
    with pytest.raises(ValueError, match="unit vector"):
        joint(field, mask, b0_direction=(0, 0, 2), **options)


@pytest.mark.parametrize("method", METHODS)
def test_values_without_weight_at_the_border_do_not_spread(method):
    mask, outer, local = head()
    field, weights = outer + local, np.ones_like(outer)
    wrong = mask & ellipsoid(mask.shape, (2, 2, 2), (9, 9, 9), (0, -0.36 * 2 * mask.shape[1], 0))
    field[wrong] += 1.0
    weights[wrong] = 1e-3
    good = mask & ~wrong
    options = {"voxel_size": (2, 2, 2), "b0_direction": (0, 0, 1)}
    remove = BACKGROUND_METHODS[method]
    spoiled = remove(field, mask, **options)
    weighted = remove(field, mask, weights=weights, **options)
    clean = remove(outer + local, good, **options)
    assert relative(spoiled.local_field - local, local, good & spoiled.mask) > 1.3
    assert relative(weighted.local_field - clean.local_field, clean.local_field, clean.mask) < 1e-3
    assert np.all(weighted.local_field[wrong] == 0)
    assert not weighted.measured[wrong].any()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_measured_ends_before_the_border(method):
    mask, outer, _ = head()
    result = BACKGROUND_METHODS[method](outer, mask, voxel_size=(2, 2, 2), b0_direction=(0, 0, 1))
    np.testing.assert_array_equal(
        result.measured, binary_erosion(result.mask, generate_binary_structure(3, 2))
    )


def test_pdf_converges_in_a_few_steps_beside_a_border_of_noise(rng):
    """At the rim of a head the noise grows by orders of magnitude."""
    voxel_size, b0 = GEOMETRIES[1]
    mask, outer, local = head(voxel_size, b0)
    noise = np.where(binary_erosion(mask, iterations=2), 1e-3, 10 ** rng.uniform(-3, 1, mask.shape))
    field = outer + local + noise * rng.standard_normal(mask.shape)
    result = pdf(field, mask, voxel_size=voxel_size, weights=1 / noise**2, max_iterations=15)
    assert result.converged
    inside = result.measured
    clean = pdf(outer + local, mask, voxel_size=voxel_size).local_field
    assert relative(result.local_field - clean, local, inside) < 0.3
