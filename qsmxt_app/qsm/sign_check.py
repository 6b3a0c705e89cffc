"""The field that an object's outline causes, and what it tells of the sign and scale of a measured one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.morphology import erode

OPPOSITE = -0.2
"""Correlation below which the sign of the phase is taken to be wrong."""

CLEAR = 0.2
"""Correlation, of either sign, from which the contrast is accepted."""

CONTRAST_PPM = (0.1, 60.0)
"""Contrast of air and tissue, as heads give it to within a factor of ten or more to either side."""

DEEP_MM = 25.0
"""Distance from the border of the mask, from which on a head has few air-filled spaces, and the nuclei."""

FAST_SHARE = 0.02
"""Share of the deep voxels, those with the highest R2*, that count as rich in iron."""

CLEAR_IRON = 0.5
"""Standard deviations, of either sign, from which their contrast tells the sign of the map."""

LEAST_SIGNAL = 0.6
"""Share of the median of S0 below which a deep voxel is bone or air."""

FASTEST_RATE = 150.0
"""R2* in 1/s above which a voxel's signal has decayed for other reasons than iron in tissue."""

_SMOOTHING_MM = 1.5
_FEWEST_DEEP = 1000
_NORMAL_MAD = 1.4826
GRID_MM = 4.0
_SHIM_ORDER = 2
_FEWEST_VOXELS = 200
_OUTERMOST_PERCENT = 1.0


@dataclass(frozen=True)
class SignCheck:
    """A measured field compared with that of a diamagnetic object of the mask's shape in air.

    Attributes
    ----------
    correlation
        Over the inside of the mask, without what a shim of second order takes off.
    contrast
        Susceptibility of the surroundings less that of the object in ppm, by least squares.
    """

    correlation: float
    contrast: float


def check_sign(
    total_field: FloatArray,
    known: BoolArray,
    mask: BoolArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
) -> SignCheck | None:
    """Compare a field with the one that tissue of the mask's shape causes in air.

    Tissue is more diamagnetic than air by 9.4 ppm, so the outline of a head, its sinuses and ear canals
    decide most of the field. The prediction lacks bone, and air that the mask does not show:
    heads correlate by 0.3 to 0.6, with a contrast of 0.8 to 3 ppm. The wrong sign of the phase changes that
    of the correlation, a wrong unit of the echo times changes the contrast a thousandfold.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        ppm, unwrapped.
    known : ndarray (x, y, z)
        Where it is measured.
    mask : ndarray (x, y, z)
        The object, without air.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.

    Returns
    -------
    SignCheck or None
        None where the image shows next to nothing of the outline.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Koch KM, Papademetris X, Rothman DL, de Graaf RA. Phys Med Biol 51:6381-6402 (2006): the field of a head
    from its shape.
    """
    if not total_field.shape == known.shape == mask.shape:
        raise ValueError(f"field {total_field.shape}, known {known.shape} and mask {mask.shape} differ")
    factors = [max(1, round(GRID_MM / size)) for size in voxel_size]
    sizes = [factor * size for factor, size in zip(factors, voxel_size, strict=True)]
    filled, weight = _block_mean(mask, factors), _block_mean(known, factors)
    # whole blocks of tissue only: at the surface itself, voxels are too large for the field's steps
    inside = (weight > 0.99) & (filled > 0.99)
    if np.count_nonzero(inside) < _FEWEST_VOXELS:
        return None
    field = _block_mean(np.where(known, total_field, np.float32(0)), factors) / np.maximum(weight, 1e-6)
    predicted = _field_in_air(filled, sizes, b0_direction)
    shim = _polynomials(inside)
    measured, expected = (_clipped(_without(shim, values[inside])) for values in (field, predicted))
    size = float(np.sqrt((expected @ expected) * (measured @ measured)))
    if not size > 0:
        return None
    product_of_both = float(expected @ measured)
    return SignCheck(product_of_both / size, product_of_both / float(expected @ expected))


def sign_warnings(found: SignCheck | None) -> tuple[str, ...]:
    """Say what a field that contradicts the outline means."""
    if found is None:
        return ()
    warnings: list[str] = []
    if found.correlation < OPPOSITE:
        warnings.append(
            "The sign of the phase seems to be inverted. The field falls where the outline of the head makes "
            f"it rise (correlation {found.correlation:.2f}; heads give 0.3 to 0.6). Iron and veins then come "
            "out dark. Multiply the phase images by -1 and run again."
        )
    low, high = CONTRAST_PPM
    if abs(found.correlation) > CLEAR and not low <= abs(found.contrast) <= high:
        size = "large" if abs(found.contrast) > high else "small"
        warnings.append(
            f"The field is implausibly {size}: echo times or phase are in the wrong unit. The outline of the "
            f"head suggests a contrast of {abs(found.contrast):.3g} ppm between air and tissue (heads give "
            "0.8 to 3). EchoTime must be in seconds and the phase in radians, or of known range."
        )
    return tuple(warnings)


def iron_contrast(
    chi: FloatArray, r2star: FloatArray, s0: FloatArray, mask: BoolArray, *, voxel_size: Sequence[float]
) -> float | None:
    """Susceptibility of the tissue deep in a head that relaxes fastest, above that of the rest.

    Iron in deep grey nuclei and deoxygenated blood in veins raise both R2* and chi. A map of the wrong sign
    gives the same number with the other sign. Bone and air are left out by their lack of signal.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm.
    r2star : ndarray (x, y, z)
        1/s.
    s0 : ndarray (x, y, z)
        Signal at an echo time of zero, any unit.
    mask : ndarray (x, y, z)
        The object.
    voxel_size
        mm.

    Returns
    -------
    float or None
        Difference of medians in standard deviations of chi there; None where the object has no such depth,
        or chi or R2* do not vary.
    """
    inner = erode(mask, DEEP_MM, voxel_size) & (chi != 0)
    if np.count_nonzero(inner) < _FEWEST_DEEP:
        return None
    rate, signal = (_smoothed(np.where(mask, image, 0), mask, voxel_size) for image in (r2star, s0))
    tissue = inner & (signal > LEAST_SIGNAL * np.median(signal[inner])) & (rate > 0) & (rate < FASTEST_RATE)
    if np.count_nonzero(tissue) < _FEWEST_DEEP:
        return None
    values, rates = chi[tissue], rate[tissue]
    middle = np.median(values)
    spread = _NORMAL_MAD * np.median(np.abs(values - middle))
    fastest = rates > np.quantile(rates, 1 - FAST_SHARE)
    if not (spread > 0 and fastest.any()):
        return None
    return float((np.median(values[fastest]) - middle) / spread)


def _smoothed(image: FloatArray, mask: BoolArray, voxel_size: Sequence[float]) -> FloatArray:
    sigma = [_SMOOTHING_MM / size for size in voxel_size]
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.asarray(image, dtype=np.float32), sigma)
    return np.asarray(smooth / np.maximum(weight, 1e-6), dtype=np.float32)


def _field_in_air(filled: FloatArray, voxel_size: Sequence[float], b0: Sequence[float]) -> FloatArray:
    """Field of an object of -1 ppm; what the image cuts off goes on as it is at the image's edge."""
    margins = [(size // 2, size // 2) for size in filled.shape]
    padded = np.pad(filled, margins, mode="edge")
    field = forward_field(-padded, voxel_size=voxel_size, b0_direction=b0, padding=1.5)
    centre = tuple(slice(low, low + size) for (low, _), size in zip(margins, filled.shape, strict=True))
    return np.asarray(field[centre], dtype=np.float32)


def _block_mean(image: NDArray, factors: Sequence[int]) -> FloatArray:
    counts = [size // factor for size, factor in zip(image.shape, factors, strict=True)]
    cut = image[tuple(slice(0, count * factor) for count, factor in zip(counts, factors, strict=True))]
    (nx, ny, nz), (fx, fy, fz) = counts, factors
    return np.asarray(cut.reshape(nx, fx, ny, fy, nz, fz).mean(axis=(1, 3, 5), dtype=np.float32))


def _polynomials(inside: BoolArray) -> NDArray[np.float64]:
    axes = [np.linspace(-1, 1, size) for size in inside.shape]
    x, y, z = (axes[axis][index] for axis, index in enumerate(np.nonzero(inside)))
    powers = (power for power in product(range(_SHIM_ORDER + 1), repeat=3) if sum(power) <= _SHIM_ORDER)
    return np.stack([x**i * y**j * z**k for i, j, k in powers], axis=-1)


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values without outliers, which the few voxels beside air are."""
    return np.clip(values, *np.percentile(values, [_OUTERMOST_PERCENT, 100 - _OUTERMOST_PERCENT]))


def _without(shim: NDArray[np.float64], values: FloatArray) -> NDArray[np.float64]:
    coefficients = np.linalg.lstsq(shim, values.astype(np.float64), rcond=None)[0]
    return np.asarray(values - shim @ coefficients)
