import numpy as np
import pytest

from qsmxt_app.group.intensity import normalise, relative_change, sharpen, similarity


def ball(size: int = 32) -> np.ndarray:
    grid = np.indices((size,) * 3) - (size - 1) / 2
    return (grid**2).sum(axis=0) < (0.4 * size) ** 2


def test_scale_and_coil_profile_disappear() -> None:
    mask = ball()
    rng = np.random.default_rng(1)
    tissue = np.where(mask, 1.0 + 0.2 * rng.standard_normal(mask.shape), 0.02).clip(0).astype(np.float32)
    profile = np.linspace(0.6, 1.6, 32, dtype=np.float32)[:, None, None]
    one = normalise(tissue, mask, (4, 4, 4))
    other = normalise(700 * tissue * profile, mask, (4, 4, 4))
    assert np.median(one[mask]) == pytest.approx(1, abs=1e-5)
    left, right = mask.copy(), mask.copy()
    left[16:], right[:16] = False, False
    # 1.0 apart before
    assert abs(np.median(other[left]) - np.median(other[right])) < 0.1
    assert not other[~mask].any()


def test_no_signal_and_no_mask_are_refused() -> None:
    mask = ball(8)
    with pytest.raises(ValueError, match="signal"):
        normalise(np.zeros(mask.shape, np.float32), mask, (1, 1, 1))
    with pytest.raises(ValueError, match="empty"):
        normalise(np.ones(mask.shape, np.float32), np.zeros_like(mask), (1, 1, 1))


def test_sharpening_steepens_an_edge_and_leaves_a_plain_alone() -> None:
    image = np.repeat(np.array([1, 1, 1, 1, 1, 1.25, 1.75, 2, 2, 2, 2, 2], np.float32), 16).reshape(12, 4, 4)
    sharp = sharpen(image)
    assert sharp[6, 2, 2] - sharp[5, 2, 2] > image[6, 2, 2] - image[5, 2, 2]
    np.testing.assert_allclose(sharp[0], image[0], atol=1e-4)
    assert sharp.max() <= image.max()


def test_change_is_relative_to_contrast() -> None:
    rng = np.random.default_rng(2)
    inside = np.ones((20, 20, 20), bool)
    one, other = rng.normal(0, 3, (2, 20, 20, 20))
    assert relative_change(one, one, inside) == 0
    assert relative_change(one, other, inside) == pytest.approx(np.sqrt(2), rel=0.03)
    assert relative_change(10 * one, 10 * (one + 0.3), inside) == pytest.approx(0.1, rel=0.02)
    assert relative_change(one, other, np.zeros_like(inside)) == 0


def test_likeness_is_that_of_what_both_know() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(5, 1, (2, 20, 20, 20))
    assert similarity(one, 3 * one + 7) == pytest.approx(1)
    assert abs(similarity(one, other)) < 0.05
    half = np.where(np.arange(20)[:, None, None] < 10, one, 0)
    assert similarity(one, half) == pytest.approx(1)
    assert similarity(one, np.zeros_like(one)) == similarity(one, np.ones_like(one)) == 0
