"""Colours and encoding: from slices of numbers to pictures that are embedded in a page.

matplotlib is imported where something is drawn: it takes as long as a small step, and the methods text, which
every run writes at its start, draws nothing.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_A_NUMBER_COLOUR = (255, 0, 200)
LARGEST_SIDE = 512
PICTURE_KIND = "webp" if features.check("webp") else "png"
_QUALITY = 88


Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """The range of values that a picture shows, and in which colours.

    Attributes
    ----------
    low, high
        Values shown in the first and the last colour; beyond them the colour stays the same.
    unit
        Unit of the values, as it stands beside the colour bar.
    colours
        Name of a matplotlib colour map.
    logarithmic
        Whether colours follow the logarithm of the value.
    """

    low: float
    high: float
    unit: str
    colours: str = "gray"
    logarithmic: bool = False

    def fraction(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Place values in the window: 0 at `low`, 1 at `high`, clipped."""
        shown = np.asarray(values, dtype=np.float32)
        low, high = self.low, self.high
        if self.logarithmic:
            shown = np.log(np.maximum(shown, np.float32(low)))
            low, high = math.log(low), math.log(high)
        placed: NDArray[np.float32] = np.clip((shown - low) / max(high - low, 1e-30), 0, 1)
        return placed

    def ticks(self) -> tuple[str, ...]:
        """Evenly spaced labels for a colour bar: decades if logarithmic, else both ends and the middle."""
        if self.logarithmic:
            decades = round(math.log10(self.high / self.low))
            return tuple(_tick(self.low * 10**i) for i in range(decades + 1))
        return tuple(_tick(value) for value in (self.low, (self.low + self.high) / 2, self.high))

    def gradient(self) -> str:
        """CSS gradient from the first to the last colour."""
        colours = _lookup(self.colours)[np.linspace(0, 255, 17).astype(int)]
        stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in colours.tolist())
        return f"linear-gradient(to right, {stops})"


CHI = Window(-0.1, 0.1, "ppm")
FIELD_NOISE = Window(0.01, 10.0, "Hz", "inferno", logarithmic=True)
OFFSET = Window(-math.pi, math.pi, "rad", "twilight")
TRUST = Window(0.0, 1.0, "", "cividis")


def field_window(hz_per_ppm: float | None) -> Window:
    """Window of a total field: one ppm of the main field either way, so that all participants compare."""
    half = round(hz_per_ppm or 130.0, -1)
    return Window(-half, half, "Hz", "RdBu_r")


def colourise(values: NDArray[np.generic], window: Window, *, outside: bool = True) -> NDArray[np.uint8]:
    """Paint a slice.

    Parameters
    ----------
    values
        (rows, columns) array.
    window
        Range and colours.
    outside
        Paint voxels that are exactly zero black: in a derivative they are outside the mask.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) array of 8-bit red, green, blue. Values that are not numbers get their own colour.
    """
    values = np.asarray(values)
    bad = ~np.isfinite(values)
    index = np.rint(window.fraction(np.where(bad, window.low, values)) * 255).astype(np.uint8)
    painted = _lookup(window.colours)[index]
    if outside:
        painted[values == 0] = 0
    painted[bad] = NOT_A_NUMBER_COLOUR
    return painted


def encode(painted: NDArray[np.uint8], size: tuple[float, float]) -> str:
    """Encode a painted slice as a data URI, with square pixels.

    Parameters
    ----------
    painted
        (rows, columns, 3) array.
    size
        Width and height in mm, which set the aspect ratio.
    """
    return _data_uri(compressed(painted, size, LARGEST_SIDE), f"image/{PICTURE_KIND}")


def compressed(painted: NDArray[np.uint8], size: tuple[float, float], largest_side: int) -> bytes:
    """Compress a painted slice, with square pixels and no more of them than so many on a side."""
    rows, columns = painted.shape[:2]
    pixel = max(min(size[0] / columns, size[1] / rows), max(size) / largest_side, 1e-6)
    wanted = max(1, round(size[0] / pixel)), max(1, round(size[1] / pixel))
    image = Image.fromarray(painted)
    if wanted != image.size:
        image = image.resize(wanted, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    options = {"quality": _QUALITY, "method": 4} if PICTURE_KIND == "webp" else {}
    image.save(buffer, PICTURE_KIND.upper(), **options)
    return buffer.getvalue()


def outline(mask: NDArray[np.generic], size: tuple[float, float]) -> str:
    """Trace the border of a mask as an SVG path in mm, so that it stays sharp at any magnification.

    Parameters
    ----------
    mask
        (rows, columns) array; voxels that are not zero are inside.
    size
        Width and height of the picture in mm.
    """
    import contourpy

    rows, columns = mask.shape
    padded = np.pad((np.asarray(mask) != 0).astype(np.float32), 1)
    lines = contourpy.contour_generator(z=padded, name="serial").lines(0.5)
    scale = np.array([size[0] / columns, size[1] / rows])
    return "".join(_path(np.asarray(line, dtype=float), scale) for line in lines)


def curve_plot(
    title: str,
    curves: Mapping[str, tuple[Curve, Curve]],
    *,
    colour: str,
    criterion: float | None = None,
    against: str = "Iteration",
) -> str:
    """Draw positive values against iterations on a logarithmic axis, as an SVG data URI.

    Parameters
    ----------
    title
        What is drawn.
    curves
        Name of each curve to its iterations and values, drawn in as many line styles.
    colour
        Of all curves.
    criterion
        A value that is drawn as a line across.
    against
        What the horizontal axis counts, in whole numbers.
    """
    from matplotlib.ticker import LogFormatter, MaxNLocator

    # a fixed place instead of a layout, and labels that are no formulas: they took most of a report's time
    figure = new_figure(4.4, 2.9, layout=None)
    axes = figure.add_axes((0.16, 0.17, 0.82, 0.72))
    for style, (name, (iterations, values)) in zip(("-", "--", ":"), curves.items(), strict=False):
        shown = np.where(values > 0, values, np.nan)
        axes.plot(iterations, shown, style, color=colour, label=name, linewidth=1.6)
    if criterion:
        axes.axhline(criterion, color="#b3261e", linewidth=1, label=f"criterion {criterion:g}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(against, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=9)
    axes.grid(True, which="major", color="#d9dee5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    return figure_uri(figure)


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Begin a figure of some inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasSVG(figure)
    return figure


def figure_uri(figure: Figure) -> str:
    """Encode a figure as an SVG data URI; the same numbers give the same bytes."""
    return _data_uri(_svg(figure), "image/svg+xml")


def _svg(figure: Figure) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    # The salt and the missing date make the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "qsmxt"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _path(points: NDArray[np.float64], scale: NDArray[np.float64]) -> str:
    """Write one traced line, without the points in the middle of straight runs."""
    steps = np.diff(points, axis=0)
    turns = np.any(np.abs(np.diff(steps, axis=0)) > 1e-9, axis=1)
    kept = points[np.concatenate([[True], turns, [True]])]
    # whole tenths of a mm, and from one point to the next: short to write, and errors do not add up
    tenths = np.rint((kept - 0.5) * scale * 10).astype(int)
    moves = " ".join(f"{x / 10:g} {y / 10:g}" for x, y in np.diff(tenths, axis=0).tolist())
    return f"M{tenths[0, 0] / 10:g} {tenths[0, 1] / 10:g}l{moves}Z"


def _lookup(name: str) -> NDArray[np.uint8]:
    import matplotlib

    colours = np.asarray(matplotlib.colormaps[name](np.linspace(0, 1, 256)))
    table: NDArray[np.uint8] = np.rint(colours[:, :3] * 255).astype(np.uint8)
    return table


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _tick(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
