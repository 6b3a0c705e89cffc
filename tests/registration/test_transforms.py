from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.errors import NoInput
from qsmxt_app.registration import (
    Grid,
    Image,
    Transform,
    Warp,
    apply,
    crop,
    extension,
    linear,
    load_transform,
    save_transform,
)
from qsmxt_app.registration.transform_files import invert_displacement

POINTS = np.array([[5.0, -8.0, 11.0], [-3.0, 2.0, 7.5], [0.0, 0.0, 0.0]])


def rigid(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def oblique(voxel_size: tuple[float, float, float]) -> np.ndarray:
    affine = rigid((10, 20, -15), (30, -50, 12))
    affine[:3, :3] *= np.asarray(voxel_size) * [-1, 1, 1]
    return affine


@pytest.fixture
def bend() -> Warp:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((20, 22, 18, 3))
    field = gaussian_filter(noise, (4, 4, 4, 0)).astype(np.float32)
    field *= 2.0 / abs(field).max()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-20, -22, -18]
    return Warp(field, invert_displacement(field, affine), affine)


def test_composition_and_inverse(bend: Warp) -> None:
    there = (
        linear(rigid((5, 0, 0), (1, 2, 3)))
        .then(Transform((bend,)))
        .then(linear(rigid((0, 9, 4), (0, -4, 1))))
    )
    first, second = rigid((5, 0, 0), (1, 2, 3)), rigid((0, 9, 4), (0, -4, 1))
    middle = bend.map_points(POINTS @ second[:3, :3].T + second[:3, 3])
    np.testing.assert_allclose(there.map_points(POINTS), middle @ first[:3, :3].T + first[:3, 3])
    np.testing.assert_allclose(there.inverse().map_points(there.map_points(POINTS)), POINTS, atol=1e-2)


def test_matrices_in_a_row_become_one() -> None:
    chain = linear(rigid((5, 0, 0), (1, 2, 3))).then(linear(rigid((0, 9, 4), (0, -4, 1))))
    assert len(chain.steps) == 1
    np.testing.assert_allclose(chain.matrix, rigid((5, 0, 0), (1, 2, 3)) @ rigid((0, 9, 4), (0, -4, 1)))


def test_itk_reads_what_is_saved(bend: Warp, tmp_path: Path) -> None:
    pytest.importorskip("ants", reason="antspyx is not installed")
    from qsmxt_app.registration.library import ants

    lps = np.array([-1, -1, 1])
    matrix = linear(rigid((5, -7, 3), (1, 2, 3)))
    for transform in (matrix, matrix.then(Transform((bend,))), Transform((bend,)).then(matrix)):
        path = save_transform(transform, tmp_path / f"x{extension(transform)}")
        itk = ants.read_transform(str(path))
        theirs = [np.array(itk.apply_to_point(tuple(p * lps))) * lps for p in POINTS]
        np.testing.assert_allclose(theirs, transform.map_points(POINTS), atol=1e-4)


def test_files_come_back_whole(bend: Warp, tmp_path: Path) -> None:
    chain = linear(rigid((5, -7, 3), (1, 2, 3))).then(Transform((bend,)))
    path = save_transform(chain, tmp_path / "there.h5")
    back = save_transform(chain.inverse(), tmp_path / "back.h5")
    again = load_transform(path, back)
    np.testing.assert_allclose(again.map_points(POINTS), chain.map_points(POINTS), atol=1e-5)
    np.testing.assert_allclose(
        again.inverse().map_points(POINTS), chain.inverse().map_points(POINTS), atol=1e-5
    )
    alone = load_transform(path)
    np.testing.assert_allclose(alone.inverse().map_points(chain.map_points(POINTS)), POINTS, atol=1e-2)
    assert save_transform(again, tmp_path / "twice.h5").read_bytes() == path.read_bytes()


def test_a_file_that_is_no_transform_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(b"nothing")
    with pytest.raises(NoInput, match=r"x\.h5"):
        load_transform(path)
    (tmp_path / "y.txt").write_text("nothing")
    with pytest.raises(NoInput, match=r"y\.txt"):
        load_transform(tmp_path / "y.txt")
    with pytest.raises(NoInput, match=r"z\.txt"):
        load_transform(tmp_path / "z.txt")


def test_itk_lays_voxels_where_nibabel_does(tmp_path: Path) -> None:
    import nibabel as nib

    pytest.importorskip("ants", reason="antspyx is not installed")
    from qsmxt_app.registration.image import from_ants, to_ants
    from qsmxt_app.registration.library import ants

    array = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    image = Image(array, oblique((2, 1, 3)))
    nib.save(nib.Nifti1Image(array, image.affine), tmp_path / "x.nii.gz")
    theirs, ours = ants.image_read(str(tmp_path / "x.nii.gz")), to_ants(image)
    np.testing.assert_allclose(ours.origin, theirs.origin, atol=1e-5)
    np.testing.assert_allclose(ours.direction, theirs.direction, atol=1e-6)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(from_ants(ours).affine, image.affine, atol=1e-9)


def test_a_sheared_image_is_refused() -> None:
    pytest.importorskip("ants", reason="antspyx is not installed")
    from qsmxt_app.registration.image import to_ants

    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    with pytest.raises(ValueError, match="shear"):
        to_ants(Image(np.ones((3, 3, 3)), sheared))


def test_a_linear_function_is_resampled_exactly(bend: Warp) -> None:
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = -30
    world = np.moveaxis(np.indices((40, 40, 40)), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    slope = np.array([1.0, -2.0, 0.5])
    grid = Grid((9, 8, 7), oblique((2, 1, 3)) @ np.diag([0.5, 0.5, 0.5, 1.0]))
    shifted = linear(rigid((0, 0, 30), (-30, 50, -12))).then(Transform((bend,)))
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    expected = shifted.map_points(points) @ slope
    result = apply(Image(world @ slope, affine), grid, shifted).array
    inside = result != 0
    assert inside.mean() > 0.5
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-4)


def test_cutting_keeps_places() -> None:
    array = np.arange(6 * 7 * 8).reshape(6, 7, 8)
    image = Image(array, oblique((2, 1, 3)))
    mask = np.zeros(array.shape, dtype=bool)
    mask[2:4, 3, 5:7] = True
    cut = crop(image, mask, margin_mm=1)
    assert cut.array.shape == (4, 3, 4)
    corner = cut.affine @ [0, 0, 0, 1]
    index = np.rint(np.linalg.inv(image.affine) @ corner).astype(int)[:3]
    assert array[tuple(index)] == cut.array[0, 0, 0]
    with pytest.raises(ValueError, match="empty"):
        crop(image, np.zeros_like(mask))
