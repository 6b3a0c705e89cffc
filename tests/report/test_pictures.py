import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from qsmxt_app.report.pictures import (
    CHI,
    FIELD_NOISE,
    NOT_A_NUMBER_COLOUR,
    Window,
    colourise,
    curve_plot,
    encode,
    field_window,
    outline,
)


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_the_chi_window_is_a_tenth_of_a_ppm_either_way() -> None:
    values = np.array([[-5.0, -0.1, -0.05, 1e-9, 0.05, 0.1, 5.0]])
    grey = colourise(values, CHI)[0, :, 0]
    assert grey.tolist() == [0, 0, 64, 128, 191, 255, 255]


def test_outside_is_black_and_what_is_no_number_stands_out() -> None:
    painted = colourise(np.array([[0.0, np.nan, np.inf, -np.inf]]), field_window(None))
    assert painted[0].tolist() == [[0, 0, 0], *[list(NOT_A_NUMBER_COLOUR)] * 3]
    kept = colourise(np.array([[0.0]]), field_window(None), outside=False)
    assert kept.min() > 200  # the middle of a diverging map is light


def test_a_logarithmic_window_gives_each_decade_the_same_width() -> None:
    assert FIELD_NOISE.fraction(np.array([0.001, 0.01, 0.1, 1, 10, 100])) == pytest.approx(
        [0, 0, 1 / 3, 2 / 3, 1, 1], abs=1e-6
    )
    assert FIELD_NOISE.ticks() == ("0.01", "0.1", "1", "10")


def test_colour_bar_says_the_window() -> None:
    assert CHI.ticks() == ("−0.1", "0", "0.1")  # noqa: RUF001
    ends = re.findall(r"rgb\((\d+) (\d+) (\d+)\)", CHI.gradient())
    assert (ends[0], ends[-1]) == (("0", "0", "0"), ("255", "255", "255"))


def test_the_field_window_follows_the_main_field() -> None:
    assert field_window(127.73).high == 130
    assert field_window(298.0) == Window(-300, 300, "Hz", "RdBu_r")


def test_pictures_get_square_pixels() -> None:
    painted = np.zeros((10, 40, 3), np.uint8)
    painted[:, 20:] = 255
    image = decode(encode(painted, (40.0, 30.0)))
    assert image.size == (40, 30)
    pixels = np.asarray(image.convert("L"), dtype=float)
    assert pixels[:, :15].max() < 40
    assert pixels[:, 25:].min() > 215


def test_very_large_slices_are_reduced() -> None:
    assert max(decode(encode(np.zeros((2000, 1000, 3), np.uint8), (200.0, 400.0))).size) == 512


def polygons(path: str) -> list[np.ndarray]:
    """Points of the polygons of an SVG path, which starts absolutely and goes on relatively."""
    result = []
    for part in path.split("Z")[:-1]:
        start, moves = (np.array([float(v) for v in words.split()]) for words in part[1:].split("l"))
        result.append(start + np.cumsum(np.concatenate([[0, 0], moves]).reshape(-1, 2), axis=0))
    return result


def areas(path: str) -> list[float]:
    """Areas enclosed by the polygons of an SVG path."""
    return [
        abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        for x, y in (points.T for points in polygons(path))
    ]


def test_the_outline_encloses_the_mask_in_mm() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:25] = True
    mask[8:11, 15:20] = False
    path = outline(mask, (60.0, 20.0))
    outer, hole = sorted(areas(path), reverse=True)
    # each corner of a pixel outline is cut by an eighth of a pixel
    assert outer == pytest.approx(15 * 2 * 10, abs=4 * 2 / 8 + 3)
    assert hole == pytest.approx(5 * 2 * 3, abs=4 * 2 / 8 + 2)
    across = np.concatenate(polygons(path))[:, 0]
    assert across.min() == pytest.approx(20, abs=0.1)
    assert across.max() == pytest.approx(50, abs=0.1)


def test_a_mask_that_fills_the_picture_is_outlined_at_its_border() -> None:
    assert areas(outline(np.ones((8, 8)), (8.0, 8.0)))[0] == pytest.approx(64, abs=0.6)
    assert outline(np.zeros((8, 8)), (8.0, 8.0)) == ""


def test_a_curve_is_drawn_the_same_every_time_and_shows_the_criterion() -> None:
    steps = np.arange(1.0, 50)
    curves = {"whole mask": (steps, 1 / steps)}
    once, again = (curve_plot("Change", curves, colour="k", criterion=1e-3) for _ in range(2))
    assert once == again
    assert once != curve_plot("Change", curves, colour="k")
    assert base64.b64decode(once.partition("base64,")[2]).lstrip().startswith(b"<?xml")


@pytest.mark.filterwarnings("error")
def test_a_curve_without_positive_values_is_drawn() -> None:
    for values in (np.zeros(3), np.array([1.0, 0.0, 2.0]), np.array([-1.0, -2.0, -3.0])):
        assert curve_plot("Change", {"a": (np.arange(3.0), values)}, colour="k").startswith("data:image/svg")
