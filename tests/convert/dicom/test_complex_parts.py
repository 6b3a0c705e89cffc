"""Complex images: parts to magnitude and phase, and many channels to one image without singularities."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from qsmxt_app.qsm.complex_parts import (
    Channel,
    Polar,
    add_pi_to_every_second_slice,
    combine_channels,
    polar_from_parts,
    slices_alternate,
)
from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.qsm.unwrapping.residues import phase_residues

VOXEL_SIZE = (5.0, 5.0, 5.0)
SHAPE = (34, 40, 28)
NOISE = 10


def loop_coils(n: int, seed: int) -> NDArray[np.complex64]:
    """Receive sensitivities (coil, x, y, z) of loops around the head: Bx - iBy by Biot and Savart's law."""
    rng = np.random.default_rng(seed)
    size = np.array(SHAPE) * VOXEL_SIZE
    position = np.stack(np.indices(SHAPE), axis=-1) * VOXEL_SIZE - size / 2
    fields = []
    for index in range(n):
        azimuth = 2 * np.pi * (index + rng.uniform(-0.2, 0.2)) / n * 3
        height = (index % 3 - 1) * 45.0
        normal = np.array([np.cos(azimuth), np.sin(azimuth), 0.35 * (index % 3 - 1)])
        normal /= np.linalg.norm(normal)
        centre = normal * 130 + [0, 0, height * 0.4]
        one = np.cross(normal, [0, 0, 1.0])
        one /= np.linalg.norm(one)
        two = np.cross(normal, one)
        angles = np.linspace(0, 2 * np.pi, 13)
        wire = centre + 40 * (np.cos(angles)[:, None] * one + np.sin(angles)[:, None] * two)
        field = np.zeros((*SHAPE, 3))
        for start, end in pairwise(wire):
            separation = position - (start + end) / 2
            distance = np.linalg.norm(separation, axis=-1, keepdims=True)
            field += np.cross(end - start, separation) / distance**3
        turn = np.exp(2j * np.pi * rng.uniform())  # cables and preamplifiers
        fields.append((field[..., 0] - 1j * field[..., 1]) * turn)
    sensitivities = np.array(fields)
    return (sensitivities / np.sqrt((np.abs(sensitivities) ** 2).sum(0)).mean()).astype(np.complex64)


def head(echo_times: tuple[float, ...], seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Mask, signal (x, y, z, echo) and true phase (unwrapped): an ellipsoid with a field and a T2*."""
    rng = np.random.default_rng(seed)
    x, y, z = ((g - n / 2) / (0.42 * n) for g, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    mask = x**2 + y**2 + z**2 < 1
    blobs = sum(
        rng.normal(0, 25) * np.exp(-(((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 0.04))
        for a, b, c in rng.uniform(-0.6, 0.6, (8, 3))
    )
    frequency = 40 * x - 25 * y + 30 * z**2 + blobs
    times = np.asarray(echo_times)
    phase = 2 * np.pi * frequency[..., None] * times
    size = np.where(mask, 1000 * (1 + 0.3 * np.cos(4 * x)), 0)[..., None] * np.exp(-times * 30)
    return mask, size * np.exp(1j * phase), phase


def channels_of(
    signal: NDArray, sensitivities: NDArray, noise: float, seed: int, calls: list | None = None
) -> list[Channel]:
    def make(index: int) -> Channel:
        def read(echo: int) -> NDArray[np.complex64]:
            if calls is not None:
                calls.append((index, echo))
            rng = np.random.default_rng((seed, index, echo))
            grain = rng.normal(0, noise, (2, *SHAPE)).astype(np.float32)
            return (signal[..., echo] * sensitivities[index] + grain[0] + 1j * grain[1]).astype(np.complex64)

        return read

    return [make(index) for index in range(len(sensitivities))]


@pytest.fixture(scope="module")
def coils() -> NDArray[np.complex64]:
    return loop_coils(32, seed=11)


def test_channels_of_several_echoes_give_the_true_phase(coils: NDArray[np.complex64]) -> None:
    echo_times = (0.0041, 0.0087, 0.0133)
    mask, signal, phase = head(echo_times, seed=3)
    combined = combine_channels(channels_of(signal, coils, NOISE, 5), echo_times, voxel_size=VOXEL_SIZE)
    # one turn in the evolution between echoes shifts the whole head alike
    shift = 2 * np.pi * echo_times[0] / (echo_times[1] - echo_times[0])
    for echo, image in enumerate(combined):
        error = np.angle(np.exp(1j * (image.phase - phase[..., echo])))[mask]
        turns = [np.angle(np.exp(1j * (error - k * shift))) for k in range(-2, 3)]
        best = min(turns, key=lambda e: float(np.mean(e**2)))
        assert np.quantile(np.abs(best), 0.99) < 0.12  # noise of the combined image: about 0.03 rad
        assert abs(best.mean()) < 0.02
        assert not phase_residues(image.phase, mask=mask).any()
        power = (np.abs(signal[..., echo, None] * np.moveaxis(coils, 0, -1)) ** 2).sum(-1)
        expected = np.sqrt(power + 2 * len(coils) * NOISE**2)
        np.testing.assert_allclose((image.magnitude / expected)[mask].mean(), 1, atol=0.002)
        assert (image.magnitude - expected)[mask].std() < 1.1 * NOISE


def test_unaligned_channels_would_have_singularities(coils: NDArray[np.complex64]) -> None:
    """The data are hard enough: what must not be done fails on them."""
    mask, signal, _ = head((0.004,), seed=3)
    images = [channel(0) for channel in channels_of(signal, coils, NOISE, 5)]
    unaligned = np.angle(np.sum(images, axis=0))
    of_phases = np.angle(np.exp(1j * np.sum([np.angle(image) for image in images], axis=0)))
    assert phase_residues(unaligned.astype(np.float32), mask=mask).sum() > 20
    assert phase_residues(of_phases.astype(np.float32), mask=mask).sum() > 20


@pytest.mark.parametrize("seed", [3, 4])
def test_channels_of_one_echo_give_the_true_phase_up_to_a_smooth_offset(seed: int) -> None:
    mask, signal, phase = head((0.018,), seed=seed)
    coils = loop_coils(16, seed=seed + 20)
    (image,) = combine_channels(channels_of(signal, coils, NOISE, 6), (0.018,), voxel_size=VOXEL_SIZE)
    assert not phase_residues(image.phase, mask=mask).any()
    error = np.exp(1j * (image.phase - phase[..., 0]))
    inner = mask & np.roll(mask, 1, 0) & np.roll(mask, 1, 1) & np.roll(mask, 1, 2)
    for axis in range(3):
        step = np.angle(error * np.conj(np.roll(error, 1, axis)))[inner]
        assert abs(np.median(step)) < 0.1
        assert np.quantile(np.abs(step), 0.99) < 0.25  # rad a voxel of 5 mm


def test_echoes_of_one_person_keep_their_difference(coils: NDArray[np.complex64]) -> None:
    """Whatever offset is left, it is the same in all echoes: their difference is the field's alone."""
    echo_times = (0.003, 0.009)
    mask, signal, phase = head(echo_times, seed=8)
    first, second = combine_channels(channels_of(signal, coils, 5, 7), echo_times, voxel_size=VOXEL_SIZE)
    error = wrap_phase(second.phase - first.phase - (phase[..., 1] - phase[..., 0]))
    assert np.quantile(np.abs(error[mask]), 0.99) < 0.08


def test_memory_does_not_grow_with_the_channels() -> None:
    coils = loop_coils(16, seed=2)
    _, signal, _ = head((0.004, 0.008), seed=1)

    def peak(n: int) -> int:
        tracemalloc.start()
        combine_channels(channels_of(signal, coils[:n], NOISE, 5), (0.004, 0.008), voxel_size=VOXEL_SIZE)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)  # compiles
    assert peak(16) < 1.2 * peak(3)


def test_channels_are_read_a_few_times_each(coils: NDArray[np.complex64]) -> None:
    """Each reading is a file: not more of them than promised."""
    _, signal, _ = head((0.004, 0.008, 0.012), seed=1)
    calls: list[tuple[int, int]] = []
    combine_channels(
        channels_of(signal, coils[:4], NOISE, 5, calls), (0.004, 0.008, 0.012), voxel_size=VOXEL_SIZE
    )
    assert max(calls.count((c, 0)) for c in range(4)) <= 2
    assert max(calls.count((c, e)) for c in range(4) for e in (1, 2)) <= 2


def test_parts_become_magnitude_and_phase() -> None:
    rng = np.random.default_rng(0)
    magnitude, phase = rng.uniform(10, 20, (5, 4, 3)), rng.uniform(-np.pi, np.pi, (5, 4, 3))
    polar = polar_from_parts(magnitude * np.cos(phase), magnitude * np.sin(phase))
    np.testing.assert_allclose(polar.magnitude, magnitude, rtol=1e-5)
    np.testing.assert_allclose(polar.phase, phase, atol=1e-5)
    with pytest.raises(ValueError, match="shape"):
        polar_from_parts(magnitude, phase[:2])
    with pytest.raises(ValueError, match="zero everywhere"):
        polar_from_parts(magnitude, 0 * phase)


def test_alternating_slices_are_repaired() -> None:
    _, signal, phase = head((0.02,), seed=2)
    signal = signal[..., 0] + 1e-3
    signal[:, :, 1::2] *= -1
    echo = polar_from_parts(signal.real, signal.imag)
    assert slices_alternate(echo)
    repaired = add_pi_to_every_second_slice(echo.phase)
    error = wrap_phase(repaired - phase[..., 0])[echo.magnitude > 100]
    # one sign for the whole image may remain: a constant half turn
    assert min(np.abs(error).max(), np.abs(wrap_phase(error + np.pi)).max()) < 0.01
    assert not slices_alternate(Polar(echo.magnitude, repaired))


def test_nothing_to_combine_is_refused() -> None:
    def empty(echo: int) -> NDArray[np.complex64]:
        return np.zeros((6, 6, 6), np.complex64)

    with pytest.raises(ValueError, match="no channel"):
        combine_channels([], (0.004,), voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="no signal"):
        combine_channels([empty, empty], (0.004, 0.008), voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="no signal"):
        combine_channels([empty], (0.004,), voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="ascend"):
        combine_channels([empty], (0.008, 0.004), voxel_size=VOXEL_SIZE)
