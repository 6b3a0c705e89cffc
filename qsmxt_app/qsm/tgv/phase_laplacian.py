# mypy: disable-error-code="no-untyped-def"
"""The Laplacian of the field from wrapped phase, of one echo or of many.

The wrapped difference of two neighbours equals the unwrapped one as long as the field changes by less than
half a cycle between them, so no unwrapping is needed; and a harmonic background, such as a smooth coil
phase, drops out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.noise import chi_squared_quantile
from qsmxt_app.qsm.threads import threaded

Method = Literal["wrapped-differences", "trigonometric"]
_METHODS = ("wrapped-differences", "trigonometric")
_TURN = np.float32(2 * np.pi)
_NO_ECHOES = np.empty((0, 0, 0, 0), np.float32)


@dataclass(frozen=True)
class EchoLaplacian:
    """Laplacian of the field and how noisy the field is.

    Attributes
    ----------
    laplacian : ndarray (x, y, z), or (x, y, z, echo) where echoes are not combined
        ppm / mm^2 inside the mask, 0 outside.
    noise : ndarray of the same shape
        Standard deviation of the equivalent field in ppm, everywhere; infinite without signal.
    """

    laplacian: FloatArray
    noise: FloatArray


def laplacian_of_phase(
    phase: FloatArray,
    *,
    voxel_size: Sequence[float],
    mask: BoolArray | None = None,
    method: Method = "wrapped-differences",
) -> FloatArray:
    """Laplacian of a wrapped phase image.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Phase in rad, wrapped or not.
    voxel_size
        Voxel edges in mm.
    mask : ndarray (x, y, z), bool, optional
        Where to compute it; 0 elsewhere. Voxels outside are used as neighbours.
    method
        ``"wrapped-differences"`` sums the wrapped differences to the neighbours, ``"trigonometric"`` their
        sines, which is the form ``cos(phi) Lap(sin phi) - sin(phi) Lap(cos phi)`` of Schofield & Zhu with
        central differences.

    Returns
    -------
    ndarray (x, y, z)
        rad / mm^2. Differences to beyond the volume's edge count as zero.

    Raises
    ------
    ValueError
        If shapes differ, values inside the mask are not finite, or the method is unknown.

    References
    ----------
    Schofield MA, Zhu Y. Opt Lett 28:1194-1196 (2003).
    Langkammer C, et al. NeuroImage 111:622-630 (2015).
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, not {method!r}")
    mask = np.ones(phase.shape, bool) if mask is None else np.asarray(mask, bool)
    ones = np.ones((*phase.shape, 1), np.float32)
    times = np.ones(1)
    phases = _checked(ones, phase[..., None], times, mask)[1]
    laplacian: FloatArray
    laplacian, _, _ = _combine(
        ones, phases, times.astype(np.float32), mask, _squared(voxel_size), method == _METHODS[1], _NO_ECHOES
    )
    return laplacian


def combine_echoes(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: ArrayLike,
    *,
    field_strength: float,
    voxel_size: Sequence[float],
    mask: BoolArray,
    method: Method = "wrapped-differences",
    separate: bool = False,
) -> EchoLaplacian:
    """Combine the echoes' phase Laplacians into the one of the field.

    Every voxel weighs its echoes by ``(magnitude TE)^2``, the inverse variance of the field that an echo
    gives. The difference between two neighbours is unwrapped in time: what the echoes before predict
    decides its number of cycles.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Phase in rad, of the sign 2 pi field TE, wrapped or not.
    echo_times : array (echo,)
        s, ascending.
    field_strength
        T.
    voxel_size
        mm.
    mask : ndarray (x, y, z), bool
        Where the Laplacian is wanted. Voxels outside are used as neighbours.
    method
        As in :func:`laplacian_of_phase`.
    separate
        Whether to return the Laplacian and the noise of every echo instead of combining them.

    Returns
    -------
    EchoLaplacian

    Raises
    ------
    ValueError
        If shapes or echo times do not fit, or values inside the mask are not finite.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, not {method!r}")
    times = np.asarray(echo_times, dtype=np.float64).ravel()
    mask = np.asarray(mask, bool)
    if magnitude.ndim == 3:
        magnitude, phase = magnitude[..., None], phase[..., None]
    magnitude, phase = _checked(magnitude, phase, times, mask)
    rad_per_ppm = (2 * np.pi * hz_per_ppm(field_strength) * times).astype(np.float32)
    squared = _squared(voxel_size)
    echoes = np.zeros(phase.shape, np.float32) if separate else _NO_ECHOES
    laplacian, misfit, precision = _combine(
        magnitude, phase, rad_per_ppm, mask, squared, method == _METHODS[1], echoes
    )
    sigma = np.float32(_noise_of_magnitude(magnitude, misfit, mask, squared))
    with np.errstate(divide="ignore"):
        if separate:
            return EchoLaplacian(echoes, sigma / (np.abs(magnitude) * rad_per_ppm))
        return EchoLaplacian(laplacian, np.asarray(sigma / np.sqrt(precision), np.float32))


def _checked(
    magnitude: FloatArray, phase: FloatArray, times: NDArray[np.float64], mask: BoolArray
) -> tuple[FloatArray, FloatArray]:
    if magnitude.shape != phase.shape:
        raise ValueError(f"magnitude {magnitude.shape} and phase {phase.shape} differ in shape")
    if mask.shape != phase.shape[:3]:
        raise ValueError(f"the mask {mask.shape} and the phase {phase.shape[:3]} differ in shape")
    if times.size != phase.shape[3]:
        raise ValueError(f"{phase.shape[3]} echoes but {times.size} echo times")
    if not (np.all(times > 0) and np.all(np.diff(times) > 0)):
        raise ValueError(f"echo times must be positive and ascending, in seconds: {times.tolist()}")
    for name, values in (("magnitude", magnitude), ("phase", phase)):
        if not np.isfinite(values[mask]).all():
            raise ValueError(f"the {name} is not finite at some voxels of the mask")
    # a neighbour outside the mask may be anything; without a number it counts as without signal
    return tuple(
        np.ascontiguousarray(np.nan_to_num(a, nan=0, posinf=0, neginf=0), np.float32)
        for a in (magnitude, phase)
    )  # type: ignore[return-value]


def _squared(voxel_size: Sequence[float]) -> FloatArray:
    edges = np.asarray(voxel_size, dtype=np.float64)
    if edges.shape != (3,) or not np.all(edges > 0):
        raise ValueError(f"voxel_size must be three positive edges in mm, not {voxel_size}")
    return (1 / edges**2).astype(np.float32)


def _noise_of_magnitude(
    magnitude: FloatArray, misfit: FloatArray, mask: BoolArray, squared: FloatArray
) -> float:
    """Standard deviation of the real (or imaginary) part, from how much the echoes' Laplacians disagree.

    A single echo has nothing to disagree with: then from the magnitude's Laplacian in the mask, whose
    median absolute value anatomy hardly reaches.
    """
    s = squared.astype(np.float64)
    gain = 4 * s.sum() ** 2 + 2 * (s**2).sum()  # variance of the Laplacian of white noise of variance 1
    n = magnitude.shape[3]
    if n > 1:
        expected = chi_squared_quantile(0.5, n - 1)
        return float(np.sqrt(np.median(misfit[mask]) / expected / gain))
    image = magnitude[..., 0].astype(np.float64)
    total = sum(s[a] * (np.roll(image, 1, a) + np.roll(image, -1, a) - 2 * image) for a in range(3))
    return float(np.median(np.abs(np.asarray(total)[mask])) / 0.6745 / np.sqrt(gain))


def _combine(
    magnitude: FloatArray,
    phase: FloatArray,
    scale: FloatArray,
    mask: BoolArray,
    squared: FloatArray,
    trigonometric: bool,
    echoes: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Combined Laplacian, weighted square misfit of the echoes' Laplacians, and precision of the field.

    The echoes' own Laplacians go into `echoes`, unless it is empty.
    """
    shape = phase.shape[:3]
    laplacian: FloatArray = np.zeros(shape, np.float32)
    misfit: FloatArray = np.zeros(shape, np.float32)
    precision: FloatArray = np.zeros(shape, np.float32)
    _combine_slabs(
        shape[0], magnitude, phase, scale, mask, squared, trigonometric, echoes, laplacian, misfit, precision
    )
    return laplacian, misfit, precision


@threaded()
def _combine_slabs(
    first, last, magnitude, phase, scale, mask, squared, trigonometric, echoes, laplacian, misfit, precision
):
    """Fill in what `_combine` returns."""
    nx, ny, nz, n = phase.shape
    for x in range(first, last):
        slope = np.zeros(6, np.float32)
        single = np.zeros(n, np.float32)
        for y in range(ny):
            for z in range(nz):
                for e in range(n):
                    w = (magnitude[x, y, z, e] * scale[e]) ** 2
                    precision[x, y, z] += w
                if not mask[x, y, z]:
                    continue
                slope[:] = 0
                total = np.float32(0)
                weighted = np.float32(0)
                for e in range(n):
                    w = (magnitude[x, y, z, e] * scale[e]) ** 2 + np.float32(1e-30)
                    centre = phase[x, y, z, e]
                    single[e] = 0
                    for a in range(6):
                        u = x + (1 if a == 0 else -1 if a == 1 else 0)
                        v = y + (1 if a == 2 else -1 if a == 3 else 0)
                        t = z + (1 if a == 4 else -1 if a == 5 else 0)
                        if u < 0 or v < 0 or t < 0 or u >= nx or v >= ny or t >= nz:
                            continue
                        d = phase[u, v, t, e] - centre
                        d -= _TURN * np.round(d / _TURN)
                        if trigonometric:
                            d = np.sin(d)
                        elif e > 0:
                            d += _TURN * np.round((slope[a] * scale[e] - d) / _TURN)
                        slope[a] = (slope[a] * total + w * d / scale[e]) / (total + w)
                        single[e] += d * squared[a // 2]
                    single[e] /= scale[e]
                    weighted += w * single[e]
                    total += w
                mean = weighted / total
                laplacian[x, y, z] = mean
                for e in range(n):
                    w = (magnitude[x, y, z, e] * scale[e]) ** 2
                    misfit[x, y, z] += w * (single[e] - mean) ** 2
                    if echoes.size:
                        echoes[x, y, z, e] = single[e]
