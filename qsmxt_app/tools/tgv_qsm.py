"""The command ``tgv_qsm``: the solver behind the flags of the original program of that name.

The flags are those of TGV-QSM by Bredies and Langkammer, so that scripts keep working; several echoes and a
magnitude may be given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qsmxt_app.errors import QsmxtError
from qsmxt_app.tools.parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = Parser(
        prog="tgv_qsm", description="Susceptibility map in ppm from wrapped gradient-echo phase by TGV-QSM."
    )
    add = parser.add_argument
    add("-p", "--phase", type=Path, nargs="+", required=True, help="phase image(s), one per echo")
    add("-m", "--mask", type=Path, required=True, help="mask of the voxels to reconstruct")
    add(
        "-o",
        "--output",
        "--output-suffix",
        default="_tgv",
        help="output image, or suffix to the phase image's name",
    )
    add("-t", "--echotime", type=float, nargs="+", default=[0.0275], help="echo time(s) in seconds")
    add("-f", "--fieldstrength", type=float, default=3.0, help="field strength in tesla")
    add("--magnitude", type=Path, nargs="+", help="magnitude image(s), one per echo: weigh voxels and echoes")
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument(
        "--alpha", type=float, nargs=2, metavar=("ALPHA1", "ALPHA0"), help="regularisation weights"
    )
    strength.add_argument(
        "--factors", type=float, nargs="+", help="multiples of the default weights, one map each"
    )
    add("-e", "--erosions", type=int, default=0, help="erosions of the mask (none needed)")
    add(
        "-i",
        "--iterations",
        type=int,
        nargs="+",
        help="maximum number of iterations; it stops once converged",
    )
    add("-s", "--autoscale", action="store_true", help="phase in the scanner's units: scale it to one cycle")
    add("--ignore-orientation", action="store_true", help="take B0 along the third voxel axis")
    add("--save-laplacian", action="store_true", help="also write the Laplacian of the field, in ppm/mm^2")
    add("--threads", type=int, help="number of threads")
    add("--output-physical", action="store_true", help="no effect: the map is always in ppm")
    add("--no-resampling", action="store_true", help="no effect: nothing is ever resampled")
    add("-v", "--verbose", action="store_true", help="show how it converges")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on standard error and an exit code (64, 65, 66, 73)."""
    try:
        arguments = build_parser().parse_args(argv)

        # numba and its friends take seconds to import: not before the arguments are known to be right
        from qsmxt_app.tools.tgv_map import write_maps

        write_maps(arguments)
    except QsmxtError as error:
        print(f"tgv_qsm: {error}", file=sys.stderr)
        return error.exit_code
    return 0
