"""From phase images to susceptibility maps by TGV-QSM, for the command ``tgv_qsm``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import scipy.ndimage
from nibabel.filebasedimages import ImageFileError

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.bids.headers import ImageHeader, b0_direction, read_header
from qsmxt_app.errors import CannotCreateOutput, UnusableData, WrongUsage
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv.field_laplacian import measured_laplacian
from qsmxt_app.qsm.tgv.regularisation import TGVOptions
from qsmxt_app.qsm.tgv.solve import TGVResult, solve_tgv

_IMAGE_SUFFIXES = (".nii.gz", ".nii")


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
            _save(result.chi, header, output)
            _tell(result, output, verbose=arguments.verbose)
    except ValueError as error:
        raise UnusableData(str(error)) from error
    if arguments.save_laplacian:
        _save(measured.laplacian, header, _with_suffix(outputs[0], "_laplacian"))


def _load(
    arguments: argparse.Namespace,
) -> tuple[ImageHeader, FloatArray, FloatArray | None, BoolArray]:
    if len(arguments.echotime) != len(arguments.phase):
        raise WrongUsage(
            f"{len(arguments.phase)} phase images but {len(arguments.echotime)} echo times: give -t for each."
        )
    if arguments.magnitude and len(arguments.magnitude) != len(arguments.phase):
        raise WrongUsage(
            f"{len(arguments.phase)} phase images but {len(arguments.magnitude)} magnitude images."
        )
    phase = _stack(arguments.phase)
    if arguments.autoscale:
        try:
            phase = scale_phase(phase).phase
        except ValueError as error:
            raise UnusableData(f"{arguments.phase[0]}: {error}") from error
    elif np.ptp(phase[np.isfinite(phase)]) > 1000:
        raise UnusableData(f"{arguments.phase[0]}: the phase is not in rad.", "Give -s to scale it.")
    magnitude = None
    if arguments.magnitude:
        magnitude = _stack(arguments.magnitude)
    mask = _read(arguments.mask) > 0
    if mask.shape != phase.shape[:3]:
        raise UnusableData(f"{arguments.mask}: the mask is {mask.shape} but the phase {phase.shape[:3]}.")
    if arguments.erosions > 0:
        mask = scipy.ndimage.binary_erosion(mask, iterations=arguments.erosions)
    if not mask.any():
        raise UnusableData(f"{arguments.mask}: the mask is empty after {arguments.erosions} erosions.")
    return read_header(arguments.phase[0]), phase, magnitude, mask


def _read(path: Path) -> FloatArray:
    read_header(path)  # refuses anything other than an image of a volume
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        values = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnusableData(f"{path}: is not a readable image ({error}).") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise UnusableData(
            f"{path}: has shape {values.shape}, not three dimensions.", "Give one image per echo."
        )
    return values


def _stack(paths: list[Path]) -> FloatArray:
    volumes = [_read(path) for path in paths]
    for volume, path in zip(volumes, paths, strict=True):
        if volume.shape != volumes[0].shape:
            raise UnusableData(f"{path}: has shape {volume.shape}, but {paths[0]} has {volumes[0].shape}.")
    return np.stack(volumes, axis=-1)


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


def _save(values: FloatArray, like: ImageHeader, path: Path) -> None:
    try:
        nib.save(nib.Nifti1Image(values, like.affine), path)
    except OSError as error:
        raise CannotCreateOutput(f"{path}: cannot be written ({error.strerror or error}).") from error


def _tell(result: TGVResult, output: Path, *, verbose: bool) -> None:
    history = result.history
    if verbose:
        for row in zip(history.iteration, history.chi_change, history.equation_residual, strict=True):
            print("iteration {:5d}  change of chi {:.4f}  equation residual {:.5f}".format(*row))
    state = "converged" if result.converged else "stopped at the cap, not converged,"
    print(f"{output}: {state} after {result.iterations} iterations")
