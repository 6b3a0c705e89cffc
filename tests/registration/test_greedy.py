from typing import cast

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmxt_app.registration import Image, Transform, Warp, apply, linear
from qsmxt_app.registration.deformable import METHODS, register_deformable
from qsmxt_app.registration.greedy import Deformation, Pair, deform, refine
from qsmxt_app.registration.transform_files import invert_displacement
from qsmxt_app.workflows.resources import limited_threads

QUICK = Deformation(iterations=(60, 30), shrink=(2, 1))
BRIEF = Deformation(iterations=(30, 10), shrink=(2, 1))


@pytest.fixture(scope="module")
def lumps() -> Image:
    rng = np.random.default_rng(2)
    array = gaussian_filter(rng.standard_normal((40, 44, 36)), 2.0)
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [40, -44, -36]
    return Image((array / array.std()).astype(np.float32), affine)


@pytest.fixture(scope="module")
def bent(lumps: Image) -> tuple[Transform, Image]:
    rng = np.random.default_rng(5)
    bend = gaussian_filter(rng.standard_normal((*lumps.array.shape, 3)), (6, 6, 6, 0)).astype(np.float32)
    bend *= 7 / abs(bend).max()
    true = Transform((Warp(bend, invert_displacement(bend, lumps.affine), lumps.affine),))
    return true, apply(lumps, lumps.grid, true.inverse(), "bspline")


def inner_points(image: Image) -> np.ndarray:
    index = np.argwhere(np.ones(np.array(image.array.shape) - 16)) + 8
    return cast(np.ndarray, index @ image.affine[:3, :3].T + image.affine[:3, 3])


def test_a_bend_is_found_to_a_fraction_of_a_voxel(lumps: Image, bent: tuple[Transform, Image]) -> None:
    true, moved = bent
    found = deform([Pair(lumps, moved)], lumps.grid, Transform(), QUICK)
    points = inner_points(lumps)
    error = np.linalg.norm(found.map_points(points) - true.map_points(points), axis=-1)
    assert np.linalg.norm(true.map_points(points) - points, axis=-1).mean() > 1.2
    assert error.mean() < 0.4  # of voxels of 2 mm
    assert np.linalg.norm(found.inverse().map_points(found.map_points(points)) - points, axis=-1).max() < 0.1


def test_brightness_and_shading_do_not_matter(lumps: Image, bent: tuple[Transform, Image]) -> None:
    true, moved = bent
    shade = 3 + np.linspace(0, 4, lumps.array.shape[1], dtype=np.float32)[:, None]
    found = deform([Pair(lumps, moved.with_array(moved.array * shade))], lumps.grid, Transform(), QUICK)
    points = inner_points(lumps)
    assert np.linalg.norm(found.map_points(points) - true.map_points(points), axis=-1).mean() < 0.4


def test_it_goes_on_from_an_initial_transform(lumps: Image, bent: tuple[Transform, Image]) -> None:
    true, moved = bent
    shift = np.eye(4)
    shift[:3, 3] = [25, -10, 8]
    far = Image(moved.array, shift @ moved.affine)
    found = deform([Pair(lumps, far)], lumps.grid, linear(shift), QUICK)
    points = inner_points(lumps)
    error = np.linalg.norm(found.map_points(points) - (true.map_points(points) + shift[:3, 3]), axis=-1)
    assert error.mean() < 0.4


def test_only_where_a_pair_pulls_is_anything_moved(lumps: Image, bent: tuple[Transform, Image]) -> None:
    where = np.zeros(lumps.array.shape, dtype=bool)
    where[:12] = True
    found = deform([Pair(lumps, bent[1], where=where)], lumps.grid, Transform(), QUICK)
    warp = cast(Warp, found.steps[0])
    assert abs(warp.displacement[4:10, 10:-10, 10:-10]).mean() > 0.3
    assert abs(warp.displacement[30:]).max() < 0.02


def test_a_part_is_refined_and_the_rest_left_alone(lumps: Image, bent: tuple[Transform, Image]) -> None:
    true, moved = bent
    rough = deform([Pair(lumps, moved)], lumps.grid, Transform(), Deformation(iterations=(12,), shrink=(2,)))
    part = lumps.grid.part((slice(8, 32), slice(8, 36), slice(6, 30)))
    where = np.zeros(part.shape, dtype=bool)
    where[4:-4, 4:-4, 4:-4] = True
    step = Deformation(iterations=(40,), shrink=(1,))
    found = refine([Pair(lumps, moved, where=where)], part, rough, step)
    inner = np.argwhere(where) @ part.affine[:3, :3].T + part.affine[:3, 3]
    before, after = (
        np.linalg.norm(one.map_points(inner) - true.map_points(inner), axis=-1).mean()
        for one in (rough, found)
    )
    assert after < 0.6 * before
    back = found.inverse().map_points(found.map_points(inner))
    assert np.linalg.norm(back - inner, axis=-1).max() < 0.3
    face = part.affine[:3, 3] + np.argwhere(~where[0]) @ part.affine[:3, 1:3].T
    assert np.linalg.norm(found.map_points(face) - rough.map_points(face), axis=-1).max() < 0.05


def test_nothing_folds_and_bytes_are_the_same(lumps: Image) -> None:
    other = lumps.with_array(np.ascontiguousarray(lumps.array[::-1]))  # nothing fits
    first = deform([Pair(lumps, other)], lumps.grid, Transform(), QUICK)
    with limited_threads(1):
        second = deform([Pair(lumps, other)], lumps.grid, Transform(), QUICK)
    field = cast(Warp, first.steps[0]).displacement
    assert field.tobytes() == cast(Warp, second.steps[0]).displacement.tobytes()
    in_voxels = field @ np.linalg.inv(lumps.affine[:3, :3]).T
    gradient = np.stack([np.stack(np.gradient(in_voxels[..., a]), -1) for a in range(3)], -2) + np.eye(3)
    assert np.linalg.det(gradient).min() > 0


def test_syn_finds_the_same_bend(lumps: Image, bent: tuple[Transform, Image]) -> None:
    """In the middle alone: SyN takes a hundred times as long as the greedy method."""
    pytest.importorskip("ants", reason="antspyx is not installed")
    true, moved = bent
    middle = Image(np.ascontiguousarray(lumps.array[8:-8, 10:-10, 6:-6]), lumps.affine.copy())
    middle.affine[:3, 3] += lumps.affine[:3, :3] @ [8, 10, 6]
    points = inner_points(middle)
    error = {}
    for method in METHODS:
        found = register_deformable([Pair(middle, moved)], middle.grid, Transform(), BRIEF, method)
        error[method] = np.linalg.norm(found.map_points(points) - true.map_points(points), axis=-1).mean()
    assert error["greedy"] < 0.4
    assert error["syn"] < 0.8  # of voxels of 2 mm
    assert error["syn"] != error["greedy"]
