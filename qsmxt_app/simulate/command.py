"""``python -m qsmxt_app.simulate OUT``: write digital subjects as a raw BIDS dataset."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from qsmxt_app.simulate.cohort import TrueEffects
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.person import Anatomy
from qsmxt_app.simulate.receive import OddPhase, ReceivePhase
from qsmxt_app.simulate.subject import ECHO_TIMES, Protocol

_USAGE, _CANNOT_CREATE = 64, 73
_ISOTROPIC, _ANISOTROPIC = 1, 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"simulate: {message}. See python -m qsmxt_app.simulate --help.", file=sys.stderr)
        raise SystemExit(_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m qsmxt_app.simulate", description=__doc__)
    add = parser.add_argument
    add("out", metavar="OUT", type=Path, help="folder of the BIDS dataset to write")
    add(
        "--subjects", "--participants", type=int, default=1, metavar="N",
        help="number of different people, with an age, a sex and a group each (default: 1)",
    )  # fmt: skip
    for name, whose in (
        ("group", "of patients, every second person"), ("sex", "of men"), ("age", "per year beyond 50"),
    ):  # fmt: skip
        add(
            f"--{name}-effect", type=_effect, action="append", default=[], metavar="TISSUE=PPM",
            help=f"change of susceptibility {whose}, such as putamen=0.02; may be given several times",
        )  # fmt: skip
    add(
        "--voxel-size", type=float, nargs="+", default=[2.0], metavar="MM",
        help="voxel edge, or three of them (default: 2)",
    )  # fmt: skip
    add(
        "--echo-times", type=float, nargs="+", default=list(ECHO_TIMES), metavar="S",
        help="echo times in s (default: 0.005 to 0.025 in five steps)",
    )  # fmt: skip
    add("--b0", type=float, default=3.0, metavar="T", help="field strength (default: 3)")
    add(
        "--b0-direction", type=float, nargs=3, default=(0.0, 0.0, 1.0), metavar=("X", "Y", "Z"),
        help="B0 in voxel axes: tilts the slab, not the head (default: 0 0 1)",
    )  # fmt: skip
    add("--snr", type=float, default=80.0, metavar="S", help="SNR of echo 1 in the brain (default: 80)")
    add("--bipolar", action="store_true", help="bipolar readout")
    add("--undeclared-readout", action="store_true", help="sidecars do not state the readout polarity")
    add(
        "--anatomy", choices=get_args(Anatomy), default="basic",
        help="adult: adds surface veins, dura and air spaces of different sizes; elderly: also adds wide "
        "ventricles and sulci (default: basic, with none of these)",
    )  # fmt: skip
    add(
        "--receive-phase", choices=get_args(ReceivePhase), default="polynomial",
        help="kind of phase at TE = 0 (default: polynomial)",
    )  # fmt: skip
    add("--echo-constants", type=float, default=0.0, metavar="RAD", help="spread of a constant of each echo")
    add("--echo-scales", type=float, nargs="+", default=[], metavar="F", help="factors on each echo's phase")
    add("--high-pass", type=float, default=0.0, metavar="MM", help="filter the phase, as for SWI")
    add(
        "--mixed-sources", action="store_true",
        help="iron and myelin side by side in tissues, and spin echoes (MESE), for source separation",
    )  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="the same seed gives the same people (default: 0)")
    add(
        "--truth",
        type=Path,
        default=None,
        metavar="DIR",
        help="also write the truth: chi, fields, mask, labels",
    )
    return parser


def _effect(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        ppm = float(number)
    except ValueError:
        ppm = math.nan
    if not math.isfinite(ppm):
        raise argparse.ArgumentTypeError(f"'{text}' is not a tissue and a number, as putamen=0.02 is")
    return name, ppm


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if len(args.voxel_size) not in (_ISOTROPIC, _ANISOTROPIC):
        parser.error(f"--voxel-size takes one or three numbers, not {len(args.voxel_size)}")
    if args.subjects < 1:
        parser.error(f"--subjects must be at least 1, not {args.subjects}")
    if args.seed < 0:
        parser.error(f"--seed must not be negative, as {args.seed} is")
    size = args.voxel_size * (_ANISOTROPIC // len(args.voxel_size))
    try:
        protocol = Protocol(
            voxel_size=(size[0], size[1], size[2]),
            echo_times=tuple(args.echo_times),
            field_strength=args.b0,
            b0_direction=tuple(args.b0_direction),
            snr=args.snr,
            bipolar=args.bipolar,
            anatomy=args.anatomy,
            receive=args.receive_phase,
            odd=OddPhase(args.echo_constants, tuple(args.echo_scales), args.high_pass),
            declare_readout=not args.undeclared_readout,
            mixed_sources=args.mixed_sources,
        )
        effects = TrueEffects(dict(args.group_effect), dict(args.sex_effect), dict(args.age_effect))
    except ValueError as problem:
        parser.error(str(problem))
    try:
        write_dataset(
            args.out,
            subjects=args.subjects,
            seed=args.seed,
            protocol=protocol,
            truth=args.truth,
            effects=effects,
        )
    except OSError as problem:
        print(f"simulate: cannot write {problem.filename or args.out}: {problem.strerror}", file=sys.stderr)
        return _CANNOT_CREATE
    return 0
