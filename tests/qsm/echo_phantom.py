"""Analytic multi-echo data with a known field, offset, readout difference, decay and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EchoPhantom:
    magnitude: np.ndarray
    phase: np.ndarray
    echo_times: np.ndarray
    mask: np.ndarray
    field: np.ndarray
    offset: np.ndarray
    difference: np.ndarray
    r2star: np.ndarray
    s0: np.ndarray
    noise_level: float
    voxel_size: tuple[float, float, float]


def echo_phantom(
    echo_times,
    *,
    size=48,
    voxel_size=(2.0, 2.0, 2.0),
    noise_level=0.01,
    seed=7,
    peak=250.0,
    offset_scale=1.0,
    difference=(0.0, 0.0, 0.0, 0.0),
) -> EchoPhantom:
    """A ball with a field of several turns between echoes, a curved offset, and air outside.

    ``difference`` is the constant (rad) and slopes (rad/mm) of the phase between readout polarities.
    """
    rng = np.random.default_rng(seed)
    times = np.asarray(echo_times, dtype=float)
    x, y, z = np.meshgrid(*[(np.arange(size) - size / 2) * v for v in voxel_size], indexing="ij")
    radius = 0.45 * size * min(voxel_size)
    distance = np.sqrt(x**2 + y**2 + z**2)
    near_air = np.exp(-((x / radius) ** 2 + (y / radius - 0.7) ** 2 + (z / radius + 0.5) ** 2) * 4)
    field = peak * near_air + 20 * x / radius - 30 * (y / radius) ** 2 + 5 * np.sin(x / 4) * np.cos(z / 5)
    offset = offset_scale * (0.8 + 1.3 * x / radius - 0.7 * y / radius + 0.9 * (x**2 - z**2) / radius**2)
    half = difference[0] + difference[1] * x + difference[2] * y + difference[3] * z
    r2star = 25 + 10 * np.sin(y / 6)
    s0 = (1 + 0.2 * np.cos(x / 7)) * (distance < 1.08 * radius)
    polarity = np.where(np.arange(times.size) % 2 == 0, 0.5, -0.5)
    angle = offset[..., None] + 2 * np.pi * field[..., None] * times + half[..., None] * polarity
    signal = s0[..., None] * np.exp(-r2star[..., None] * times + 1j * angle)
    noise = rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
    signal = signal + noise_level * noise
    return EchoPhantom(
        np.abs(signal).astype(np.float32),
        np.angle(signal).astype(np.float32),
        times,
        distance < radius,
        field,
        offset,
        half,
        r2star,
        s0,
        noise_level,
        tuple(voxel_size),
    )


def wrapped(angle):
    return np.angle(np.exp(1j * np.asarray(angle)))
