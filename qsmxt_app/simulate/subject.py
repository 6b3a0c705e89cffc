"""A digital subject in memory: what the scanner would give, and the truth behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.field import coarse_field, smooth_sources, two_scale_field
from qsmxt_app.simulate.geometry import ScanGrid, scan_grid
from qsmxt_app.simulate.person import Anatomy, Person, change_chi, make_person
from qsmxt_app.simulate.receive import OddPhase, ReceivePhase, receive_phase, spoil_phase
from qsmxt_app.simulate.shim import Shim, fit_shim, subtract_shim
from qsmxt_app.simulate.signal import block_majority, block_mean, make_coil, polynomials, scan_signal
from qsmxt_app.simulate.sources import (
    Sources,
    dephasing_sources,
    diamagnetic_sources,
    static_dephasing,
    tissue_r2,
)
from qsmxt_app.simulate.tissues import LABELS, TISSUES, label_names
from qsmxt_app.simulate.volume import HEAD_BOX, Volume, grid_shape

ECHO_TIMES = (0.005, 0.010, 0.015, 0.020, 0.025)
COARSE_MM = 2.0
_AIR = np.float32(TISSUES[LABELS["Background"]].chi)

DEEP_GREY_NUCLEI: Mapping[str, tuple[int, ...]] = {
    name: (LABELS[f"Left-{name}"], LABELS[f"Right-{name}"])
    for name in (
        "Caudate", "Putamen", "Globus-Pallidus-External", "Globus-Pallidus-Internal", "Thalamus",
        "Substantia-Nigra", "Red-Nucleus",
    )
}  # fmt: skip
"""Deep grey nuclei, each with the label numbers of both sides."""


@dataclass(frozen=True)
class Protocol:
    """How a subject is scanned.

    Attributes
    ----------
    voxel_size : tuple of 3 floats
        mm.
    echo_times : tuple of floats
        s, ascending.
    field_strength : float
        T.
    b0_direction : tuple of 3 floats
        Direction of B0 in voxel axes; the view is turned, the head stays upright in the scanner.
    snr : float
        Mean magnitude of the first echo in the brain over the standard deviation of the noise in the real
        (and the imaginary) part.
    bipolar : bool
        Whether every second echo has the opposite readout polarity.
    repetition_time, flip_angle : float
        s and degrees.
    anatomy
        What of a head there is.
    receive
        Kind of phase at TE = 0.
    odd : OddPhase
        What is wrong with the phase.
    declare_readout : bool
        Whether sidecars tell the readout's polarity.

    Raises
    ------
    ValueError
        A value that no scanner could have.
    """

    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    echo_times: tuple[float, ...] = ECHO_TIMES
    field_strength: float = 3.0
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    snr: float = 80.0
    bipolar: bool = False
    repetition_time: float = 0.035
    flip_angle: float = 15.0
    anatomy: Anatomy = "basic"
    receive: ReceivePhase = "polynomial"
    odd: OddPhase = field(default_factory=OddPhase)
    declare_readout: bool = True
    mixed_sources: bool = False

    def __post_init__(self) -> None:
        if not all(0.3 <= edge <= 8 for edge in self.voxel_size):
            raise ValueError(f"voxel edges must be 0.3 to 8 mm, not {self.voxel_size}")
        times = np.array(self.echo_times)
        if times.size == 0 or not (times[0] > 0 and times[-1] <= 0.2 and np.all(np.diff(times) > 0)):
            raise ValueError(f"echo times must ascend between 0 and 0.2 s, not {self.echo_times}")
        if not 0.2 <= self.field_strength <= 15:
            raise ValueError(f"B0 must be 0.2 to 15 T, not {self.field_strength}")
        if not np.all(np.isfinite(self.b0_direction)):
            raise ValueError(f"the direction of B0 must be finite, not {self.b0_direction}")
        if not np.linalg.norm(self.b0_direction) > 0:
            raise ValueError("the direction of B0 must not be the zero vector")
        if not 0 < self.snr < np.inf:
            raise ValueError(f"the signal-to-noise ratio must be positive and finite, not {self.snr}")


@dataclass(frozen=True)
class Truth:
    """What a perfect method would find, on the grid of the scan.

    Attributes
    ----------
    chi : ndarray (x, y, z)
        ppm relative to water, mean over the voxel, 0 outside the brain.
    total_field, local_field : ndarray (x, y, z)
        Hz; the field after shimming, and that of the sources inside the brain alone.
    brain_mask : ndarray (x, y, z), bool
        Voxels more than half inside the brain.
    labels : ndarray (x, y, z), uint8
        The tissue that most of the voxel belongs to, of the whole head.
    label_names : dict
        Name of every label.
    sources : Sources or None
        Paramagnetic and diamagnetic sources, where the protocol asks for them.
    r2star : ndarray (x, y, z)
        1/s.
    offset : ndarray (x, y, z)
        Phase at TE = 0 in rad.
    """

    chi: FloatArray
    total_field: FloatArray
    local_field: FloatArray
    brain_mask: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    r2star: FloatArray
    offset: FloatArray
    label_names: Mapping[int, str] = field(default_factory=label_names)
    sources: Sources | None = None


@dataclass(frozen=True)
class DigitalSubject:
    """Multi-echo images of one person and their truth.

    Attributes
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Arbitrary unit, and rad in [-pi, pi]: ``phase = 2 pi field TE + offset``, but for odd phase.
    echo_times : ndarray (echo,)
        s.
    affine : ndarray (4, 4)
        From voxels to scanner coordinates in mm.
    voxel_size, b0_direction : ndarray (3,)
        mm; unit vector of the scanner's z in voxel axes.
    field_strength : float
        T.
    truth : Truth
    """

    magnitude: FloatArray
    phase: FloatArray
    echo_times: NDArray[np.float64]
    affine: NDArray[np.float64]
    voxel_size: NDArray[np.float64]
    b0_direction: NDArray[np.float64]
    field_strength: float
    truth: Truth


def simulate_subject(
    seed: int = 0,
    index: int = 1,
    protocol: Protocol = Protocol(),
    chi_change: Mapping[str, float] | None = None,
    person: Person | None = None,
) -> DigitalSubject:
    """Simulate a scan of one person.

    Parameters
    ----------
    seed
        Seed of the study: with `index` it decides who the person is, the coil and the noise.
    index
        Number of the person, from 1.
    protocol : Protocol
    chi_change
        Susceptibility in ppm to add to tissues, by their name; nothing else of the person changes.
    person : Person
        To be scanned. None: the one that seed, index and the protocol's anatomy give.

    Returns
    -------
    DigitalSubject
        Two calls with the same arguments return the same bytes.
    """
    changes = tuple((chi_change or {}).items())
    head = _whole_head(person) if person else _drawn_head(seed, index, protocol.anatomy, changes)
    person = head.person
    grid = scan_grid(protocol.voxel_size, protocol.b0_direction)
    tissue, chi, brain = sample_anatomy(person, grid.fine_origin, grid.fine_steps, grid.fine_shape)
    total, local = _fields(head, grid, chi, brain, hz_per_ppm(protocol.field_strength))
    true_chi = _means(np.where(brain, chi, np.float32(0)), grid)
    true_total, true_local = _means(total, grid), _means(local, grid)
    brain_mask = np.asarray(_means(brain, grid) > 0.5)
    del local
    labels = np.empty(grid.shape, dtype=np.uint8)
    block_majority(grid.shape[0], tissue, np.array(grid.subdivision), labels)
    sources, dephasing = None, None
    if protocol.mixed_sources:
        diamagnetic = diamagnetic_sources(tissue, chi, person, grid, seed, index)
        dephasing = dephasing_sources(tissue, chi, diamagnetic)
        sources = _true_sources(tissue, chi, diamagnetic, dephasing, brain, grid, protocol.field_strength)
        del diamagnetic
    del brain
    signal, r2star = scan_signal(
        tissue, chi, person.chi, total, subdivision=grid.subdivision, echo_times=protocol.echo_times,
        field_strength=protocol.field_strength, repetition_time=protocol.repetition_time,
        flip_angle=protocol.flip_angle, dephasing=dephasing,
    )  # fmt: skip
    del tissue, chi, total, dephasing
    offset = _receive(signal, brain_mask, protocol, grid, seed, index)
    magnitude, phase = np.abs(signal), np.angle(signal)
    if protocol.odd != OddPhase():
        edges = np.array(protocol.voxel_size, dtype=np.float64)
        phase = spoil_phase(magnitude, phase, protocol.odd, edges, np.random.default_rng([seed, index, 6]))
    truth = Truth(
        chi=true_chi, total_field=true_total, local_field=true_local, brain_mask=brain_mask, labels=labels,
        r2star=r2star, offset=offset, sources=sources,
    )  # fmt: skip
    return DigitalSubject(
        magnitude=magnitude,
        phase=phase,
        echo_times=np.array(protocol.echo_times),
        affine=grid.affine,
        voxel_size=np.array(protocol.voxel_size, dtype=np.float64),
        b0_direction=grid.b0_direction,
        field_strength=protocol.field_strength,
        truth=truth,
    )


def _means(fine: NDArray, grid: ScanGrid) -> FloatArray:
    out = np.empty(grid.shape, dtype=np.float32)
    block_mean(grid.shape[0], fine, np.array(grid.subdivision), out)
    return out


def _true_sources(
    tissue: NDArray[np.uint8], chi: FloatArray, diamagnetic: FloatArray, dephasing: FloatArray,
    brain: NDArray[np.bool_], grid: ScanGrid, field_strength: float,
) -> Sources:  # fmt: skip
    def mean(fine: FloatArray) -> FloatArray:
        return _means(np.where(brain, fine, np.float32(0)), grid)

    return Sources(
        paramagnetic=mean(chi + diamagnetic),
        diamagnetic=mean(diamagnetic),
        r2=mean(tissue_r2(field_strength)[tissue]),
        r2prime=np.float32(static_dephasing(field_strength)) * mean(dephasing),
    )


@dataclass(frozen=True)
class _WholeHead:
    """One person and the slow part of the field, which no protocol changes; in ppm."""

    person: Person
    sources: Volume
    field: Volume
    brain_sources: Volume
    brain_field: Volume
    shim: Shim


@lru_cache(maxsize=1)
def _drawn_head(
    seed: int, index: int, anatomy: Anatomy, chi_change: tuple[tuple[str, float], ...]
) -> _WholeHead:
    return _whole_head(change_chi(make_person(seed, index, anatomy), dict(chi_change)))


def _whole_head(person: Person) -> _WholeHead:
    shape = grid_shape(HEAD_BOX, COARSE_MM)
    # sampled twice as fine, so that the smooth sources see partial volume
    _, chi, brain = sample_anatomy(
        person,
        HEAD_BOX[0] - COARSE_MM / 4,
        np.eye(3) * COARSE_MM / 2,
        (2 * shape[0], 2 * shape[1], 2 * shape[2]),
    )
    coarse = [np.empty(shape, dtype=np.float32) for _ in range(2)]
    block_mean(shape[0], chi - _AIR, np.array([2, 2, 2]), coarse[0])
    block_mean(shape[0], np.where(brain, chi, np.float32(0)), np.array([2, 2, 2]), coarse[1])
    sources, brain_sources = (smooth_sources(image, HEAD_BOX[0], COARSE_MM) for image in coarse)
    slow = coarse_field(sources)
    shim = fit_shim(slow, brain[::2, ::2, ::2])
    return _WholeHead(person, sources, slow, brain_sources, coarse_field(brain_sources), shim)


def _fields(
    head: _WholeHead, grid: ScanGrid, chi: FloatArray, brain: NDArray[np.bool_], scale: float
) -> tuple[FloatArray, FloatArray]:
    """Shimmed total field and field of the brain alone on the fine grid, in Hz."""
    total = two_scale_field(chi - _AIR, head.sources, head.field, grid)
    subtract_shim(total, head.shim, grid.fine_origin, grid.fine_steps)
    local = two_scale_field(np.where(brain, chi, np.float32(0)), head.brain_sources, head.brain_field, grid)
    total *= np.float32(scale)
    local *= np.float32(scale)
    return total, local


def _receive(
    signal: NDArray[np.complex64], brain: NDArray[np.bool_], protocol: Protocol, grid: ScanGrid, seed: int,
    index: int,
) -> FloatArray:  # fmt: skip
    """Apply coil, readout polarity and noise in place; return the phase at TE = 0."""
    coil = make_coil(np.random.default_rng([seed, index, 1]))
    shape = signal.shape[:3]
    offset = receive_phase(protocol.receive, coil, grid, np.random.default_rng([seed, index, 5]))
    profile = polynomials(shape, coil.sensitivity) * np.exp(1j * offset)
    signal *= profile[..., None].astype(np.complex64)
    if protocol.bipolar:
        along = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None, None]
        signal[..., 1::2] *= np.exp(1j * (coil.readout[0] + coil.readout[1] * along)).astype(np.complex64)
    level = np.abs(signal[..., 0][brain]).mean()
    sigma = np.float32(level / protocol.snr)
    rng = np.random.default_rng([seed, index, 2])
    for echo in range(signal.shape[-1]):
        signal[..., echo].real += sigma * rng.standard_normal(shape, dtype=np.float32)
        signal[..., echo].imag += sigma * rng.standard_normal(shape, dtype=np.float32)
    signal *= np.complex64(1000 / level)
    return offset
