from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Image, Transform, apply, linear

pytest.importorskip("ants", reason="antspyx is not installed")

from qsmxt_app.registration.syn import Channel, SynOptions, register_syn

SHORT = SynOptions(metric="MI", metric_size=32, iterations=(60, 30), shrink=(2, 1), smoothing=(1, 0))


@pytest.fixture(scope="module")
def blob() -> Image:
    """A lumpy head of 2.5 mm, oblique, with nothing at the edge."""
    rng = np.random.default_rng(0)
    array = gaussian_filter(rng.standard_normal((36, 40, 34)), 2.5)
    index = np.indices(array.shape) - (np.array(array.shape) / 2)[:, None, None, None]
    inside = gaussian_filter(
        ((index / np.array([11, 13, 10])[:, None, None, None]) ** 2).sum(0) < 1, 1, output=float
    )
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, 5, -8], degrees=True).as_matrix() * [-2.5, 2.5, 2.5]
    affine[:3, 3] = [40, -45, -30]
    return Image(((array / array.std() + 5) * inside).astype(np.float32), affine)


def motion(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def test_a_bend_is_found_and_led_back(blob: Image) -> None:
    rng = np.random.default_rng(5)
    bend = gaussian_filter(rng.standard_normal((*blob.array.shape, 3)), (7, 7, 7, 0))
    bend *= 6 / abs(bend).max()
    from qsmxt_app.registration import Warp
    from qsmxt_app.registration.transform_files import invert_displacement

    true = Transform((Warp(bend.astype(np.float32), invert_displacement(bend, blob.affine), blob.affine),))
    moved = apply(blob, blob.grid, true.inverse(), "bspline")
    found = register_syn(blob, moved, SHORT, Transform())
    inside = np.argwhere(blob.array > 3) @ blob.affine[:3, :3].T + blob.affine[:3, 3]
    before = np.linalg.norm(true.map_points(inside) - inside, axis=-1).mean()
    after = np.linalg.norm(found.map_points(inside) - true.map_points(inside), axis=-1).mean()
    assert after < before / 2
    round_trip = found.inverse().map_points(found.map_points(inside))
    assert np.linalg.norm(round_trip - inside, axis=-1).max() < 0.1


def test_a_second_channel_moves_what_the_first_does_not_show(blob: Image) -> None:
    index = np.indices(blob.array.shape)
    spots = [
        np.exp(-((index - np.array(c)[:, None, None, None]) ** 2).sum(0) / 8.0)
        for c in ((18, 20, 17), (20, 20, 17))
    ]
    still = Image(np.ones_like(blob.array) * (blob.array > 1), blob.affine)
    fixed, moving = (Image(s.astype(np.float32), blob.affine) for s in spots)
    alone = register_syn(still, still, SHORT, Transform())
    both = register_syn(still, still, SHORT, Transform(), [Channel(fixed, moving)])
    seen = (blob.affine @ [18, 20, 17, 1])[:3]
    target = (blob.affine @ [20, 20, 17, 1])[:3]
    distance = [np.linalg.norm(t.map_points(seen) - target) for t in (alone, both)]
    assert distance[1] < distance[0] / 2


def test_same_input_gives_same_bytes(blob: Image) -> None:
    moved = apply(blob, blob.grid, linear(motion((3, 0, 0), (1, 2, 0))))
    first, second = (
        register_syn(blob, moved, replace(SHORT, iterations=(3, 2)), Transform()) for _ in range(2)
    )
    for a, b in zip(first.steps, second.steps, strict=True):
        assert all(
            x.tobytes() == y.tobytes() for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
        )


def test_voxels_that_are_not_finite_are_refused(blob: Image) -> None:
    array = blob.array.copy()
    array[3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        register_syn(blob, blob.with_array(array), SHORT, Transform())
