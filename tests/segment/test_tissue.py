import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmxt_app.registration import Image
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.tissue import TissueClasses, labels_in_their_tissue

REGIONS = (
    Region(2, "white", "", "white"),
    Region(4, "ventricle", "", "fluid"),
    Region(11, "caudate", "L", "nucleus"),
    Region(50, "caudate", "R", "nucleus"),
    Region(70, "substantia-nigra", "", "nucleus"),
    Region(71, "brainstem", "", "nucleus"),
)
BRIGHTNESS = {0: 0.0, 2: 1.0, 4: 0.3, 11: 0.75, 50: 0.75, 70: 0.9, 71: 0.9}


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> np.ndarray:
    return ((np.indices(shape) - np.array(centre)[:, None, None, None]) ** 2).sum(0) < radius**2


def phantom(shift: int = 0) -> np.ndarray:
    """Two nuclei beside a ventricle in white matter, and a stem with a nucleus that has no contrast to it."""
    shape = (56, 48, 40)
    labels = np.where(ball(shape, (28, 24, 20), 19), 2, 0)
    for number, x in ((11, 19), (50, 37)):
        labels[ball(shape, (x + shift, 24 + shift, 22), 6)] = number
    labels[ball(shape, (28, 24 + shift, 24), 4)] = 4
    labels[ball(shape, (28, 24, 8), 5)] = 71
    labels[ball(shape, (28, 22, 8), 2)] = 70
    return labels


def image_of(labels: np.ndarray, *, noise: float = 0.03, shade: float = 0.0) -> Image:
    bright = np.vectorize(BRIGHTNESS.get)(labels).astype(np.float32)
    blurred = gaussian_filter(bright, 0.5) * (1 + shade * np.linspace(-1, 1, labels.shape[0])[:, None, None])
    noisy = blurred + noise * np.random.default_rng(0).standard_normal(labels.shape)
    return Image((700 * noisy).astype(np.float32), np.eye(4))


def overlap(a: np.ndarray, b: np.ndarray, number: int) -> float:
    return float(2 * ((a == number) & (b == number)).sum() / ((a == number).sum() + (b == number).sum()))


@pytest.mark.parametrize("shade", [0.0, 0.08])
def test_misplaced_labels_go_to_their_tissue(shade: float) -> None:
    truth, placed = phantom(), phantom(shift=2)
    found = labels_in_their_tissue(
        Image(placed, np.eye(4)), TissueClasses.of(REGIONS), image_of(truth, shade=shade), truth > 0
    )
    for number in (11, 50, 4):
        before, after = (overlap(labels, truth, number) for labels in (placed, found.labels.array))
        assert before < 0.8
        assert after > 0.93
    assert found.labels.array[truth == 0].max() == 0


def test_left_stays_left() -> None:
    truth = phantom()
    found = labels_in_their_tissue(
        Image(phantom(shift=2), np.eye(4)), TissueClasses.of(REGIONS), image_of(truth), truth > 0
    ).labels.array
    assert not (found[:28] == 50).any()
    assert not (found[28:] == 11).any()


def test_what_has_no_contrast_stays_where_the_atlas_puts_it() -> None:
    truth = phantom()
    found = labels_in_their_tissue(
        Image(truth, np.eye(4)), TissueClasses.of(REGIONS), image_of(truth), truth > 0
    ).labels.array
    assert overlap(found, truth, 70) > 0.95


def test_same_image_gives_same_bytes_at_any_brightness() -> None:
    truth, placed = phantom(), Image(phantom(shift=1), np.eye(4))
    classes, image = TissueClasses.of(REGIONS), image_of(truth)
    first, second = (labels_in_their_tissue(placed, classes, image, truth > 0) for _ in range(2))
    assert first.labels.array.tobytes() == second.labels.array.tobytes()
    brighter = labels_in_their_tissue(placed, classes, image.with_array(4 * image.array), truth > 0)
    assert (brighter.labels.array == first.labels.array).mean() > 0.9999


def test_classes_share_what_looks_alike() -> None:
    classes = TissueClasses.of(REGIONS)
    assert classes.of_label[11] == classes.of_label[50]
    assert classes.of_label[70] == classes.of_label[71]
    assert classes.names[classes.of_label[4]] == "fluid"
    assert classes.of_label[3] == -1
