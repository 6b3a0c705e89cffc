"""The images of the MNI152 head, and the nuclei that are drawn in it."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from qsmxt_app.mni152.files import (
    BRAIN_2009A,
    BRAIN_2009C,
    DATA,
    FREESURFER_LABELS,
    GREY_2009A,
    WHITE_2009A,
    freesurfer_names,
    read_volume,
)
from qsmxt_app.mni152.nuclei import EXTERNAL_SHARE, beside_insula, draw_small_nuclei, internal_pallidum

SMALL = ("substantia-nigra", "red-nucleus", "subthalamic-nucleus", "dentate-nucleus")
NUMBERS = {name: (2 * n + 1, 2 * n + 2) for n, name in enumerate(SMALL)}
AXES = (np.arange(-40.0, 41), np.arange(-80.0, 11), np.arange(-50.0, 11))


@pytest.fixture(scope="module", params=[False, True], ids=["smooth", "crumpled"])
def drawn(request):
    labels = np.zeros([axis.size for axis in AXES], np.uint8)
    draw_small_nuclei(labels, AXES, NUMBERS, crumpled=request.param)
    return labels


def places(labels, number):
    index = np.argwhere(labels == number)
    return np.stack([axis[index[:, a]] for a, axis in enumerate(AXES)], -1)


@pytest.mark.parametrize(
    ("name", "centre", "volume"),
    [
        # centres and volumes that atlases of the MNI152 head give, the volumes as a range
        ("substantia-nigra", (10, -17, -13), (400, 700)),
        ("red-nucleus", (5, -20, -10), (250, 500)),
        ("subthalamic-nucleus", (11, -13, -8), (100, 220)),
        ("dentate-nucleus", (15, -58, -34), (1000, 2500)),
    ],
)
def test_nuclei_lie_where_atlases_have_them(drawn, name, centre, volume):
    for side, number in zip((-1, 1), NUMBERS[name], strict=True):
        points = places(drawn, number)
        assert np.linalg.norm(points.mean(0) * (side, 1, 1) - centre) < 2.5
        assert volume[0] < len(points) < volume[1]


def test_both_sides_are_alike_in_one_piece_and_nothing_touches_the_edge(drawn):
    np.testing.assert_array_equal(drawn[::-1] > 0, drawn > 0)
    assert label(drawn == NUMBERS["substantia-nigra"][0])[1] == 1
    inner = np.zeros(drawn.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert not drawn[~inner].any()


def test_the_nigra_lies_around_the_red_nucleus_apart_from_it(drawn):
    nigra, red = (drawn == NUMBERS[name][1] for name in ("substantia-nigra", "red-nucleus"))
    assert not (binary_dilation(red) & nigra).any()
    assert (binary_dilation(red, iterations=4) & nigra).any()


def test_the_pallidum_is_divided_behind_and_below():
    freesurfer, affine = read_volume(FREESURFER_LABELS)
    # its axes are permuted: along x, z and y of the world, and two of them run backwards
    labels = np.moveaxis(freesurfer, 1, 2)[::-1, :, ::-1]
    steps = [-affine[0, 0], affine[1, 2], -affine[2, 1]]
    assert steps == [1, 1, 1]
    axes = [
        affine[0, 3] + affine[0, 0] * np.arange(freesurfer.shape[0])[::-1],
        affine[1, 3] + np.arange(freesurfer.shape[2]),
        affine[2, 3] + affine[2, 1] * np.arange(freesurfer.shape[1])[::-1],
    ]
    for pallidum, putamen, insula in ((13, 12, 1035), (52, 51, 2035)):
        whole = labels == pallidum
        internal = internal_pallidum(whole, labels == putamen, axes)
        assert internal.sum() / whole.sum() == pytest.approx(1 - EXTERNAL_SHARE, abs=0.01)
        behind = [
            np.mean(axes[a][np.nonzero(internal)[a]]) - np.mean(axes[a][np.nonzero(whole & ~internal)[a]])
            for a in range(3)
        ]
        assert behind[1] < -2
        assert behind[2] < -2
        rim = beside_insula(labels == putamen, labels == insula)
        assert 0.03 < rim.sum() / (labels == putamen).sum() < 0.2


def test_images_are_whole_and_their_terms_lie_beside_them():
    shapes = {path: read_volume(path)[0].shape for path in (GREY_2009A, WHITE_2009A, BRAIN_2009A)}
    assert len(set(shapes.values())) == 1
    brain = read_volume(BRAIN_2009C)[0] > 0
    assert 1.7e6 < brain.sum() < 2.1e6
    assert set(np.unique(read_volume(FREESURFER_LABELS)[0]).tolist()) <= set(freesurfer_names())
    terms = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in terms for path in DATA.iterdir() if path.name != "LICENSES.md")
