"""Complex multi-echo signal of the voxels of a scan: the sum over what lies inside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.simulate.sources import static_dephasing, tissue_r2
from qsmxt_app.simulate.tissues import IRON_RELAXIVITY, LABELS, TISSUES, gradient_echo_amplitude

FAT_SHIFT_PPM = -3.4
"""Chemical shift of fat against water (Hernando 2010): it moves the signal's phase, not the field."""

_COIL_PHASE_RAD = 2.5
_READOUT_SLOPE_RAD = 1.6


@dataclass(frozen=True)
class Coil:
    """Smooth receive profile as polynomials over the view, from -1 to 1 along each axis.

    Attributes
    ----------
    phase : ndarray (10,)
        Coefficients of the phase at TE = 0 in rad.
    sensitivity : ndarray (10,)
        Coefficients of the magnitude's profile, around 1.
    readout : ndarray (2,)
        Phase in rad, constant and along the first axis, of echoes with the opposite readout polarity.
    """

    phase: FloatArray
    sensitivity: FloatArray
    readout: FloatArray


def make_coil(rng: np.random.Generator) -> Coil:
    """Draw a receive profile."""
    order = np.array([1.0, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    phase = _COIL_PHASE_RAD * 0.5 * order * rng.standard_normal(10)
    sensitivity = 0.12 * order * rng.standard_normal(10)
    sensitivity[0] = 1.0
    sensitivity[7:] = np.abs(sensitivity[7:]) + 0.08
    readout = np.array([rng.uniform(-1, 1), _READOUT_SLOPE_RAD * rng.choice([-1, 1]) * rng.uniform(0.6, 1)])
    return Coil(phase.astype(np.float32), sensitivity.astype(np.float32), readout.astype(np.float32))


def polynomials(shape: Sequence[int], coefficients: FloatArray) -> FloatArray:
    """Second-order polynomial over a view: 1, x, y, z, xy, xz, yz, xx, yy, zz with axes from -1 to 1."""
    x, y, z = (
        np.linspace(-1, 1, n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, n in enumerate(shape)
    )
    terms = (1.0, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z)
    out = np.zeros(tuple(shape), dtype=np.float32)
    for coefficient, term in zip(coefficients, terms, strict=True):
        out += coefficient * term
    return out


def scan_signal(
    tissue: NDArray[np.uint8],
    chi: FloatArray,
    mean_chi: FloatArray,
    frequency: FloatArray,
    *,
    subdivision: Sequence[int],
    echo_times: Sequence[float],
    field_strength: float,
    repetition_time: float,
    flip_angle: float,
    dephasing: FloatArray | None = None,
) -> tuple[NDArray[np.complex64], FloatArray]:
    """Signal of every scan voxel, without coil and noise, and its R2*.

    Fine voxels of one scan voxel add up as complex numbers: partial volume and dephasing follow.

    Parameters
    ----------
    tissue, chi, frequency : ndarray (x, y, z)
        Tissue numbers, susceptibility (ppm) and frequency (Hz) on the fine grid.
    mean_chi : ndarray (tissues,)
        Mean susceptibility of every tissue of this person in ppm; iron above it shortens T2*.
    subdivision
        Fine voxels along each edge of a scan voxel.
    echo_times
        s.
    field_strength
        T.
    repetition_time, flip_angle
        s and degrees.
    dephasing : ndarray (x, y, z), optional
        Sources in ppm that cause R2' of their own voxel; R2* is then what they and R2 give, and chi and its
        mean have no part in it.

    Returns
    -------
    signal : ndarray (x, y, z, echo), complex64
    r2star : ndarray (x, y, z)
        1/s, weighted with the signal at TE = 0; what dephasing within voxels adds is not in it.
    """
    shape = [n // s for n, s in zip(tissue.shape, subdivision, strict=True)]
    signal = np.empty((*shape, len(echo_times)), dtype=np.complex64)
    r2star = np.empty(shape, dtype=np.float32)
    shift = np.zeros(len(TISSUES), dtype=np.float32)
    shift[LABELS["Fat"]] = FAT_SHIFT_PPM * hz_per_ppm(field_strength)
    if dephasing is None:
        relaxation = np.array([t.r2star for t in TISSUES], dtype=np.float32) * (
            0.4 + 0.6 * field_strength / 3
        )
        source, mean, relaxivity = chi, mean_chi, IRON_RELAXIVITY * field_strength / 3
    else:
        relaxation, relaxivity = tissue_r2(field_strength), static_dephasing(field_strength)
        source, mean = dephasing, np.zeros(len(TISSUES), np.float32)
    _sum(
        shape[0], tissue, source, frequency, np.array(subdivision),
        gradient_echo_amplitude(repetition_time, flip_angle), relaxation.astype(np.float32), shift,
        mean.astype(np.float32), np.float32(relaxivity), np.asarray(echo_times, dtype=np.float32),
        signal, r2star,
    )  # fmt: skip
    return signal, r2star


@threaded(fastmath=True)
def _sum(
    first: int,
    last: int,
    tissue: Any, chi: Any, frequency: Any, subdivision: Any, amplitude: Any, relaxation: Any, shift: Any,
    mean_chi: Any, relaxivity: Any, echo_times: Any, signal: Any, r2star: Any,
) -> None:  # fmt: skip  # pragma: no cover
    _nx, ny, nz, echoes = signal.shape
    sx, sy, sz = subdivision
    per_voxel = np.float32(1.0 / (sx * sy * sz))
    cycle = np.float32(2 * math.pi)
    for i in range(first, last):
        real = np.empty(echoes, np.float32)
        imaginary = np.empty(echoes, np.float32)
        for j in range(ny):
            for k in range(nz):
                real[:] = 0
                imaginary[:] = 0
                weight = np.float32(0)
                rate_sum = np.float32(0)
                for a in range(sx):
                    for b in range(sy):
                        for c in range(sz):
                            u, v, w = i * sx + a, j * sy + b, k * sz + c
                            t = tissue[u, v, w]
                            if amplitude[t] == 0:
                                continue
                            iron = max(chi[u, v, w] - mean_chi[t], np.float32(-0.05)) * relaxivity
                            rate = max(relaxation[t] + iron, np.float32(0.5))
                            f = cycle * (frequency[u, v, w] + shift[t])
                            weight += amplitude[t]
                            rate_sum += amplitude[t] * rate
                            for e in range(echoes):
                                size = amplitude[t] * math.exp(-echo_times[e] * rate)
                                real[e] += size * math.cos(f * echo_times[e])
                                imaginary[e] += size * math.sin(f * echo_times[e])
                for e in range(echoes):
                    signal[i, j, k, e] = complex(real[e] * per_voxel, imaginary[e] * per_voxel)
                r2star[i, j, k] = rate_sum / weight if weight > 0 else np.float32(0)


@threaded()
def block_mean(first: int, last: int, fine: Any, subdivision: Any, out: Any) -> None:  # pragma: no cover
    """Write the mean of every scan voxel's fine voxels to `out`."""
    sx, sy, sz = subdivision
    for i in range(first, last):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                total = np.float32(0)
                for a in range(sx):
                    for b in range(sy):
                        for c in range(sz):
                            total += fine[i * sx + a, j * sy + b, k * sz + c]
                out[i, j, k] = total / np.float32(sx * sy * sz)


@threaded()
def block_majority(first: int, last: int, fine: Any, subdivision: Any, out: Any) -> None:  # pragma: no cover
    """Write the most frequent number among every scan voxel's fine voxels; the smaller of equals."""
    sx, sy, sz = subdivision
    for i in range(first, last):
        count = np.zeros(256, np.int64)
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                count[:] = 0
                for a in range(sx):
                    for b in range(sy):
                        for c in range(sz):
                            count[fine[i * sx + a, j * sy + b, k * sz + c]] += 1
                out[i, j, k] = np.argmax(count)
