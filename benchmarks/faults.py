"""How surely broken inputs are recognised, and good ones left alone.

    python benchmarks/faults.py                       # seeds 1 to 3 at 3 mm, straight and tilted
    python benchmarks/faults.py --seeds 4 --voxel-size 2 --snr 40
    python benchmarks/faults.py --faults good sign    # some of the faults only

One line a scan and fault: the warnings by their first words, and the measures behind them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scans import DIRECTIONS
from qsmxt_app.bids.acquisition_images import scale_doubts
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.field_checks import check_field_fit
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.mask_checks import extent_warnings
from qsmxt_app.qsm.masking import build_masks
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.qsm.phase_checks import echo_warnings, repeated_echoes
from qsmxt_app.qsm.stored_phase import kind_warnings
from qsmxt_app.simulate import Protocol, simulate_subject


@dataclass(frozen=True)
class Stored:
    """Images as they lie on disk."""

    magnitude: FloatArray
    phase: FloatArray
    echo_times: NDArray[np.float64]
    voxel_size: tuple[float, ...]
    b0_direction: tuple[float, ...]
    field_strength: float
    units: str | None = "rad"
    mask: NDArray[np.bool_] | None = None
    bipolar: bool = False


def combined_naively(stored: Stored, how: str, seed: int, channels: int = 8) -> FloatArray:
    """Phase of the plain sum of coils, or the mean of their phases weighted by power."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in stored.phase.shape[:3]), indexing="ij"))
    signal = stored.magnitude * np.exp(1j * stored.phase)
    total, power = np.zeros_like(signal), np.full(signal.shape, 1e-30, np.float32)
    for channel in range(channels):
        angle = 2 * np.pi * channel / channels
        coil = np.array([1.3 * np.cos(angle), 1.3 * np.sin(angle), rng.uniform(-0.5, 0.5)])
        away = places - coil[:, None, None, None]
        turn = rng.uniform(-np.pi, np.pi) + np.tensordot(rng.normal(0, 1.5, 3), places, 1)
        profile = np.exp(-(away**2).sum(axis=0) / 1.5 + 1j * (turn + np.arctan2(away[1], away[0])))
        received = signal * profile[..., None]
        weight = np.abs(received) ** 2
        total += received if how == "sum" else weight * np.angle(received)
        power += weight
    return (np.angle(total) if how == "sum" else total.real / power).astype(np.float32)


def noise_echo(stored: Stored, echo: int) -> Stored:
    rng = np.random.default_rng(7)
    magnitude, phase = stored.magnitude.copy(), stored.phase.copy()
    level = 0.01 * magnitude.max()
    magnitude[..., echo] = rng.rayleigh(level, magnitude.shape[:3])
    phase[..., echo] = rng.uniform(-np.pi, np.pi, magnitude.shape[:3])
    return replace(stored, magnitude=magnitude, phase=phase)


def repeated(stored: Stored) -> Stored:
    phase = stored.phase.copy()
    phase[..., -1] = phase[..., -2]
    return replace(stored, phase=phase)


def half_erased(stored: Stored) -> Stored:
    middle = stored.phase.shape[0] // 2
    magnitude, phase = stored.magnitude.copy(), stored.phase.copy()
    magnitude[:middle], phase[:middle] = 0, 0
    return replace(stored, magnitude=magnitude, phase=phase)


def half_imaged(stored: Stored) -> Stored:
    middle = stored.phase.shape[0] // 2
    return replace(stored, magnitude=stored.magnitude[middle:], phase=stored.phase[middle:])


def mask_cut(stored: Stored) -> Stored:
    mask = masks_of(stored).filled.copy()
    mask[:, : int(0.4 * mask.shape[1])] = False
    return replace(stored, mask=mask)


FAULTS: dict[str, Callable[[Stored], Stored]] = {
    "good": lambda s: s,
    "sign": lambda s: replace(s, phase=-s.phase),
    "coils-summed": lambda s: replace(s, phase=combined_naively(s, "sum", 1)),
    "coils-averaged": lambda s: replace(s, phase=combined_naively(s, "mean", 2)),
    "seconds-as-ms": lambda s: replace(s, echo_times=s.echo_times / 1000),
    "magnitude-as-phase": lambda s: replace(s, phase=1.7 * s.magnitude, units=None),
    "exchanged": lambda s: replace(s, magnitude=s.phase - s.phase.min(), phase=s.magnitude, units=None),
    "half-turn": lambda s: replace(s, phase=s.phase / 2),
    "units-of-pi": lambda s: replace(s, phase=s.phase / np.float32(np.pi)),
    "degrees-as-rad": lambda s: replace(s, phase=np.degrees(s.phase)),
    "mask-cut": mask_cut,
    "half-erased": half_erased,
    "half-imaged": half_imaged,
    "noise-echo": lambda s: noise_echo(s, -1),
    "repeated-echo": repeated,
}


def masks_of(stored: Stored) -> Any:
    phase = scale_phase(stored.phase, stored.units).phase
    return build_masks(
        stored.magnitude, phase, stored.echo_times, voxel_size=stored.voxel_size, within=stored.mask
    )


def examine(stored: Stored) -> tuple[list[str], dict[str, Any]]:
    """Do what the steps of the workflow do until the field is known."""
    scaled = scale_phase(stored.phase, stored.units)
    warnings = [
        *kind_warnings(stored.magnitude, stored.phase),
        *echo_warnings((), repeated_echoes(stored.phase)),
        *scale_doubts(stored.magnitude, stored.phase, scaled),
    ]
    given = replace(stored, phase=scaled.phase, units="rad")
    try:
        masks = masks_of(given)
        warnings += masks.warnings
        warnings += extent_warnings(masks.filled, combine_magnitude(given.magnitude), given.b0_direction)
        fit = fit_total_field(
            given.magnitude, given.phase, given.echo_times, mask=masks.filled, voxel_size=given.voxel_size,
            bipolar=given.bipolar,
        )  # fmt: skip
        faults = check_field_fit(
            given.magnitude, given.phase,
            fit.total_field / np.float32(hz_per_ppm(given.field_strength)), filled=masks.filled,
            reliable=masks.reliable, known=masks.filled & fit.known, outline=masks.filled,
            voxel_size=given.voxel_size, b0_direction=given.b0_direction,
        )  # fmt: skip
    except ValueError as error:
        return [*warnings, f"ERROR {error}"], {}
    return [*warnings, *faults.warnings], dict(faults.measures)


def scans(args: argparse.Namespace) -> Iterator[tuple[str, Stored]]:
    for seed in args.seeds:
        for direction in args.directions:
            protocol = Protocol(
                voxel_size=tuple(args.voxel_size * (3 if len(args.voxel_size) == 1 else 1)),
                echo_times=tuple(args.echo_times), b0_direction=DIRECTIONS[direction], snr=args.snr,
            )  # fmt: skip
            s = simulate_subject(seed, 1, protocol)
            yield f"seed {seed} {direction}", Stored(
                s.magnitude, s.phase, s.echo_times, tuple(s.voxel_size), tuple(s.b0_direction),
                s.field_strength,
            )  # fmt: skip


def line(name: str, fault: str, warnings: list[str], measures: dict[str, Any]) -> str:
    told = [warning.split(". ")[0][:60] for warning in warnings]
    values = ""
    if measures:
        correlation = measures["outline_correlation"]
        outline = (
            f"{correlation:5.2f} {measures['outline_contrast_ppm']:9.3g}"
            if correlation
            else "    -         -"
        )
        values = f"{measures['open_fringes_mm']:6.0f} {outline} {min(measures['echo_coherence']):5.2f}"
    return f"{name:20s} {fault:18s} {values:28s} {told}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=["straight", "tilted"])
    parser.add_argument("--voxel-size", type=float, nargs="+", default=[3.0])
    parser.add_argument("--echo-times", type=float, nargs="+", default=[0.005, 0.010, 0.015, 0.020, 0.025])
    parser.add_argument("--snr", type=float, default=80.0)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    args = parser.parse_args()
    print(f"{'scan':20s} {'fault':18s} fringe  corr  contrast  coher")
    for name, stored in scans(args):
        for fault in args.faults:
            if "echo" in fault and len(args.echo_times) < 2:
                continue
            print(line(name, fault, *examine(FAULTS[fault](stored))), flush=True)


if __name__ == "__main__":
    main()
