from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from qsmxt_app.report.panel import make_view
from qsmxt_app.report.pictures import Window
from qsmxt_app.report.slices import PLANES, Cut, make_grid, plan_cuts, size_mm, take, to_ras

SHAPE = (12, 16, 10)
# where a point lies that is far right (x), front (y) and up (z), in pictures of each plane
WHERE = {"axial": ("right", "top"), "coronal": ("right", "top"), "sagittal": ("right", "top")}


def stored_affines() -> dict[str, np.ndarray]:
    """Affines of the same 2 x 3 x 4 mm volume stored in different voxel orders, one of them oblique."""
    affines = {}
    for name in ("RAS", "LAS", "LPS", "PSR", "AIL"):
        axes = nib.orientations.axcodes2ornt(name)
        turned = np.zeros((4, 4))
        turned[3, 3] = 1
        for axis, (world, sign) in enumerate(axes):
            turned[int(world), axis] = sign * (2.0, 3.0, 4.0)[axis]
        affines[name] = turned
    angle = np.deg2rad(25)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affines["oblique"] = tilt @ affines["LPS"]
    return affines


@pytest.mark.parametrize("name", stored_affines())
@pytest.mark.parametrize("plane", PLANES)
def test_a_source_at_the_right_front_top_is_drawn_right_and_up(name: str, plane: str) -> None:
    affine = stored_affines()[name]
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(SHAPE) - 1)
    world = apply_affine(affine, corners)
    bright = tuple(corners[np.argmax(world @ [1, 1, 1])])
    volume = np.zeros(SHAPE, np.float32)
    volume[bright] = 1
    grid = make_grid(np.ones(SHAPE), affine, margin_mm=0)
    index = to_ras(volume, affine).shape[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]] - 1
    picture = take(to_ras(volume, affine), grid, Cut(plane, index))
    row, column = np.argwhere(picture)[0]
    assert (row, column) == (0, picture.shape[1] - 1)


def test_sides_are_named_after_what_lies_there() -> None:
    assert Cut("axial", 0).sides == Cut("coronal", 0).sides == ("L", "R")
    assert Cut("sagittal", 0).sides == ("P", "A")


def test_sides_have_no_letters_where_the_file_has_no_orientation() -> None:
    slices = {Cut("axial", 3): np.ones((4, 4), np.float32)}
    grid = make_grid(np.ones((4, 4, 4)), np.eye(4))
    window = Window(0.0, 1.0, "ppm")
    (tile,) = make_view("Chi", slices, grid, window).rows[0]
    assert tile.sides == ("L", "R")
    (tile,) = make_view("Chi", slices, replace(grid, oriented=False), window).rows[0]
    assert tile.sides == ("", "")
    assert "left" not in tile.alt


@pytest.mark.parametrize("name", stored_affines())
def test_pictures_have_the_proportions_of_the_object(name: str) -> None:
    affine = stored_affines()[name]
    volume = np.zeros(SHAPE)
    grid = make_grid(volume, affine)
    extent = dict(zip(nib.aff2axcodes(affine), np.array(SHAPE) * (2, 3, 4), strict=True))
    x, y, z = (next(extent[code] for code in codes if code in extent) for codes in ("LR", "AP", "IS"))
    assert size_mm(grid, Cut("axial", 0)) == pytest.approx((x, y))
    assert size_mm(grid, Cut("coronal", 0)) == pytest.approx((x, z))
    assert size_mm(grid, Cut("sagittal", 0)) == pytest.approx((y, z))


def test_the_box_is_the_mask_with_a_margin_in_mm() -> None:
    mask = np.zeros((20, 20, 20))
    mask[8:12, 9:10, 0:3] = 1
    grid = make_grid(mask, np.diag([2.0, 4.0, 8.0, 1.0]), margin_mm=8)
    assert grid.lower == (4, 7, 0)
    assert grid.upper == (16, 12, 4)


def test_an_empty_mask_shows_everything() -> None:
    grid = make_grid(np.zeros((5, 6, 7)), np.eye(4))
    assert (grid.lower, grid.upper) == ((0, 0, 0), (5, 6, 7))


def test_positions_are_scanner_coordinates() -> None:
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = [30, 40, -50]
    grid = make_grid(np.ones((20, 20, 20)), affine)
    assert Cut("axial", 3).position(grid) == "z = −44 mm"  # noqa: RUF001
    assert Cut("sagittal", 19).position(grid) == "x = 30 mm"


def test_cuts_stay_inside_the_box_and_differ() -> None:
    mask = np.zeros((40, 40, 40))
    mask[10:30, 5:35, 12:15] = 1
    grid = make_grid(mask, np.eye(4), margin_mm=0)
    cuts = plan_cuts(grid, {"axial": 8, "coronal": 4, "sagittal": 1})
    assert len(set(cuts)) == len(cuts)
    assert all(12 <= cut.index < 15 for cut in cuts if cut.plane == "axial")
    assert [cut.plane for cut in cuts].count("coronal") == 4
    assert all(np.any(take(to_ras(mask, np.eye(4)), grid, cut)) for cut in cuts)


def test_a_singular_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="singular"):
        make_grid(np.ones((3, 3, 3)), np.diag([1.0, 0.0, 1.0, 1.0]))
