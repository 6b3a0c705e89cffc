"""From phase images to susceptibility maps by TGV-QSM, for the command ``tgv_qsm``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import scipy.ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.bids.headers import ImageHeader, b0_direction, read_header
from qsmxt_app.errors import CannotCreateOutput, UnusableData, WrongUsage
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv.field_laplacian import measured_laplacian
from qsmxt_app.qsm.tgv.regularisation import TGVOptions
from qsmxt_app.qsm.tgv.solve import TGVResult, solve_tgv
from qsmxt_app.tools.images import IMAGE_SUFFIXES, read_echoes, read_image, with_suffix, write_image


def write_maps(arguments: argparse.Namespace) -> None:
    """Write one susceptibility map for each regularisation asked for.

    Parameters
    ----------
    arguments
        Of the command line.

    Raises
    ------
    WrongUsage, NoInput, UnusableData, CannotCreateOutput
        Arguments that contradict each other, or files that cannot be read, used or written.
    """
    header, phase, magnitude, mask = _load(arguments)
    voxel_size = header.voxel_size
    direction = (0.0, 0.0, 1.0) if arguments.ignore_orientation else _b0_direction(header)
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
        tissue = None
        if magnitude is not None:
            tissue = has_tissue_signal(magnitude, arguments.echotime, voxel_size)
        for output, options in zip(outputs, _options(arguments), strict=True):
            result = solve_tgv(
                measured.laplacian,
                mask,
                voxel_size=voxel_size,
                b0_direction=direction,
                noise=measured.noise if magnitude is not None else None,
                tissue=tissue,
                options=options,
                threads=arguments.threads,
            )
            write_image(result.chi, header.affine, output)
            _tell(result, output, verbose=arguments.verbose)
    except ValueError as error:
        raise UnusableData(str(error)) from error
    if arguments.save_laplacian:
        write_image(measured.laplacian, header.affine, with_suffix(outputs[0], "_laplacian"))


def _load(
    arguments: argparse.Namespace,
) -> tuple[ImageHeader, FloatArray, FloatArray | None, BoolArray]:
    phase = read_echoes(arguments.phase)
    if len(arguments.echotime) != phase.shape[3]:
        raise WrongUsage(
            f"{phase.shape[3]} phase images but {len(arguments.echotime)} echo times: give -t for each."
        )
    if arguments.autoscale:
        try:
            phase = scale_phase(phase).phase
        except ValueError as error:
            raise UnusableData(f"{arguments.phase[0]}: {error}") from error
    elif np.ptp(phase[np.isfinite(phase)]) > 1000:
        raise UnusableData(f"{arguments.phase[0]}: the phase is not in rad.", "Give -s to scale it.")
    magnitude = None
    if arguments.magnitude:
        magnitude = read_echoes(arguments.magnitude)
        if magnitude.shape != phase.shape:
            raise WrongUsage(f"{phase.shape[3]} phase images but magnitude {magnitude.shape}.")
    mask = read_image(arguments.mask) > 0
    if mask.shape != phase.shape[:3]:
        raise UnusableData(f"{arguments.mask}: the mask is {mask.shape} but the phase {phase.shape[:3]}.")
    if arguments.erosions > 0:
        mask = scipy.ndimage.binary_erosion(mask, iterations=arguments.erosions)
    if not mask.any():
        raise UnusableData(f"{arguments.mask}: the mask is empty after {arguments.erosions} erosions.")
    return read_header(arguments.phase[0]), phase, magnitude, mask


def _b0_direction(header: ImageHeader) -> tuple[float, float, float]:
    for warning in header.warnings:
        print(f"tgv_qsm: {header.path}: {warning}", file=sys.stderr)
    return b0_direction(header.scanner_affine)


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
    if given.endswith(IMAGE_SUFFIXES):
        path = Path(given)
    elif "/" in given:
        path = Path(f"{given}.nii.gz")
    else:
        path = with_suffix(arguments.phase[0], given if given.startswith("_") else f"_{given}")
    if not path.parent.is_dir():
        raise CannotCreateOutput(f"{path}: the folder {path.parent} does not exist.")
    factors = arguments.factors or []
    return [with_suffix(path, f"_{f:g}") for f in factors] if len(factors) > 1 else [path]


def _tell(result: TGVResult, output: Path, *, verbose: bool) -> None:
    history = result.history
    if verbose:
        for row in zip(history.iteration, history.chi_change, history.equation_residual, strict=True):
            print("iteration {:5d}  change of chi {:.4f}  equation residual {:.5f}".format(*row))
    state = "converged" if result.converged else "stopped at the cap, not converged,"
    print(f"{output}: {state} after {result.iterations} iterations")
