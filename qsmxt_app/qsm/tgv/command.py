"""The command ``tgv_qsm``: the solver behind the flags of the original program of that name.

The flags are those of TGV-QSM by Bredies and Langkammer, so that scripts keep working; several echoes and a
magnitude may be given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, cast

import nibabel as nib
import numpy as np
import scipy.ndimage
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.errors import CannotCreateOutput, NoInput, QsmxtError, UnusableData, WrongUsage
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.qsm.tgv.field_laplacian import measured_laplacian
from qsmxt_app.qsm.tgv.regularisation import TGVOptions
from qsmxt_app.qsm.tgv.solve import TGVResult, solve_tgv

_IMAGE_SUFFIXES = (".nii.gz", ".nii")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUsage(message, f"See {self.prog} --help.")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = _Parser(
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
    add("-i", "--iterations", type=int, nargs="+", help="most iterations; it stops once converged")
    add("-s", "--autoscale", action="store_true", help="phase in the scanner's units: scale it to one turn")
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
        _run(build_parser().parse_args(argv))
    except QsmxtError as error:
        print(f"tgv_qsm: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run(arguments: argparse.Namespace) -> None:
    images, phase, magnitude, mask = _load(arguments)
    affine, voxel_size = images[0].affine, [float(h) for h in images[0].header.get_zooms()[:3]]
    b0_direction = (0.0, 0.0, 1.0) if arguments.ignore_orientation else _b0_direction(affine)
    outputs = _output_paths(arguments)
    try:
        measured = measured_laplacian(
            magnitude,
            phase,
            arguments.echotime,
            field_strength=arguments.fieldstrength,
            voxel_size=voxel_size,
            mask=mask,
        )
        for output, options in zip(outputs, _options(arguments), strict=True):
            result = solve_tgv(
                measured.laplacian,
                mask,
                voxel_size=voxel_size,
                b0_direction=b0_direction,
                noise=measured.noise if magnitude is not None else None,
                options=options,
                threads=arguments.threads,
            )
            _save(result.chi, affine, output)
            _tell(result, output, verbose=arguments.verbose)
    except ValueError as error:
        raise UnusableData(str(error)) from error
    if arguments.save_laplacian:
        _save(measured.laplacian, affine, _with_suffix(outputs[0], "_laplacian"))


def _load(
    arguments: argparse.Namespace,
) -> tuple[list[nib.Nifti1Image], FloatArray, FloatArray | None, BoolArray]:
    if len(arguments.echotime) != len(arguments.phase):
        raise WrongUsage(
            f"{len(arguments.phase)} phase images but {len(arguments.echotime)} echo times: give -t for each."
        )
    if arguments.magnitude and len(arguments.magnitude) != len(arguments.phase):
        raise WrongUsage(
            f"{len(arguments.phase)} phase images but {len(arguments.magnitude)} magnitude images."
        )
    loaded = [_read(path) for path in arguments.phase]
    images = [image for image, _ in loaded]
    phase = _stack([values for _, values in loaded], arguments.phase)
    if arguments.autoscale:
        try:
            phase = scale_phase(phase).phase
        except ValueError as error:
            raise UnusableData(f"{arguments.phase[0]}: {error}") from error
    elif np.ptp(phase[np.isfinite(phase)]) > 1000:
        raise UnusableData(f"{arguments.phase[0]}: the phase is not in rad.", "Give -s to scale it.")
    magnitude = None
    if arguments.magnitude:
        magnitude = _stack([_read(path)[1] for path in arguments.magnitude], arguments.magnitude)
    mask = _read(arguments.mask)[1] > 0
    if mask.shape != phase.shape[:3]:
        raise UnusableData(f"{arguments.mask}: the mask is {mask.shape} but the phase {phase.shape[:3]}.")
    if arguments.erosions > 0:
        mask = scipy.ndimage.binary_erosion(mask, iterations=arguments.erosions)
    if not mask.any():
        raise UnusableData(f"{arguments.mask}: the mask is empty after {arguments.erosions} erosions.")
    return images, phase, magnitude, mask


def _read(path: Path) -> tuple[nib.Nifti1Image, FloatArray]:
    if not path.is_file():
        raise NoInput(f"{path}: there is no such file.")
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        values = np.asarray(image.dataobj, dtype=np.float32)
    except PermissionError as error:
        raise NoInput(f"{path}: cannot be read ({error.strerror}).") from error
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnusableData(f"{path}: is no readable image ({error}).") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise UnusableData(
            f"{path}: has shape {values.shape}, not three dimensions.", "Give one image per echo."
        )
    return image, values


def _stack(volumes: list[FloatArray], paths: list[Path]) -> FloatArray:
    for volume, path in zip(volumes, paths, strict=True):
        if volume.shape != volumes[0].shape:
            raise UnusableData(f"{path}: has shape {volume.shape}, but {paths[0]} has {volumes[0].shape}.")
    return np.stack(volumes, axis=-1)


def _b0_direction(affine: NDArray[np.floating]) -> tuple[float, float, float]:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = axes[2]
    return float(x), float(y), float(z)


def _options(arguments: argparse.Namespace) -> list[TGVOptions]:
    default = TGVOptions()
    alphas = [tuple(arguments.alpha)] if arguments.alpha else [default.alpha]
    if arguments.factors:
        alphas = [(f * default.alpha[0], f * default.alpha[1]) for f in arguments.factors]
    cap = max(arguments.iterations) if arguments.iterations else default.max_iterations
    try:
        return [TGVOptions(alpha=(a1, a0), max_iterations=cap) for a1, a0 in alphas]
    except ValueError as error:
        raise WrongUsage(str(error)) from error


def _output_paths(arguments: argparse.Namespace) -> list[Path]:
    given: str = arguments.output
    if given.endswith(_IMAGE_SUFFIXES):
        path = Path(given)
    elif "/" in given:
        path = Path(f"{given}.nii.gz")
    else:
        path = _with_suffix(arguments.phase[0], given if given.startswith("_") else f"_{given}")
    if not path.parent.is_dir():
        raise CannotCreateOutput(f"{path}: the folder {path.parent} does not exist.")
    factors = arguments.factors or []
    return [_with_suffix(path, f"_{f:g}") for f in factors] if len(factors) > 1 else [path]


def _with_suffix(path: Path, suffix: str) -> Path:
    stem = path.name
    for ending in _IMAGE_SUFFIXES:
        stem = stem.removesuffix(ending)
    return path.with_name(f"{stem}{suffix}.nii.gz")


def _save(values: FloatArray, affine: NDArray[np.floating], path: Path) -> None:
    try:
        nib.save(nib.Nifti1Image(values, affine), path)
    except OSError as error:
        raise CannotCreateOutput(f"{path}: cannot be written ({error.strerror or error}).") from error


def _tell(result: TGVResult, output: Path, *, verbose: bool) -> None:
    history = result.history
    if verbose:
        for row in zip(history.iteration, history.chi_change, history.equation_residual, strict=True):
            print("iteration {:5d}  change of chi {:.4f}  equation residual {:.5f}".format(*row))
    state = "converged" if result.converged else "stopped at the cap, not converged,"
    print(f"{output}: {state} after {result.iterations} iterations")


if __name__ == "__main__":
    sys.exit(main())
