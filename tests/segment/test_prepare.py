import numpy as np
import pytest

from qsmxt_app.registration import Image
from qsmxt_app.registration.resample import without_shear
from qsmxt_app.segment.prepare import remove_non_brain


def distances(shape: tuple[int, ...], centre: tuple[float, ...]) -> np.ndarray:
    return np.sqrt(((np.indices(shape) - np.array(centre)[:, None, None, None]) ** 2).sum(0))


def test_what_bone_divides_from_the_brain_is_cut_off() -> None:
    """A brain with sulci and a ventricle, fluid, bone and a bright scalp that the mask leaks into."""
    shape = (80, 80, 80)
    r, ventricle = distances(shape, (40, 40, 40)), distances(shape, (40, 44, 40)) < 7
    image = np.select([ventricle, r < 24, r < 27, r < 31, r < 36], [0.25, 1.0, 0.25, 0.05, 0.9], 0.02)
    image[:, 39:41, 58:] = np.where(r < 24, 0.25, image)[:, 39:41, 58:]  # a sulcus
    noise = 0.03 * np.random.default_rng(0).standard_normal(shape)
    leak = (r < 36) & (distances(shape, (40, 75, 40)) < 12)
    brain = r < 26
    found = remove_non_brain(Image((image + noise).astype(np.float32), np.eye(4)), brain | leak)
    assert (leak & (r > 30)).sum() > 1000
    assert not found[r > 30].any()
    assert found[r < 24].all()


@pytest.mark.parametrize("angle", [0.0, 12.0])
def test_a_sheared_image_keeps_its_place_in_the_world(angle: float) -> None:
    affine = np.diag([2.0, 2.5, 3.0, 1.0])
    affine[0, 1] = 2.5 * np.tan(np.deg2rad(angle))
    affine[:3, 3] = [-20, 8, 5]
    world = np.indices((30, 28, 24)).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    middle = world.mean(0)

    def ball(points: np.ndarray) -> np.ndarray:
        return np.asarray(100 * np.exp(-((points - middle - [3, -4, 5]) ** 2).sum(-1) / (2 * 9.0**2)))

    image = Image(ball(world).reshape(30, 28, 24).astype(np.float32), affine)
    upright = without_shear(image)
    assert (upright is image) == (angle == 0)
    assert upright.grid.is_orthogonal
    points = np.moveaxis(np.indices(upright.array.shape), 0, -1) @ upright.affine[:3, :3].T
    expected = ball(points + upright.affine[:3, 3])
    seen = expected > 10
    assert abs(upright.array - expected)[seen].max() < 4  # of 100: one linear interpolation
