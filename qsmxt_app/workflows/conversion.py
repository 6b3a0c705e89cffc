"""The conversion of a folder of scanner files, before its participants are run."""

from __future__ import annotations

import logging
from pathlib import Path

from qsmxt_app import __version__
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.convert.command import (
    ConversionOutcome,
    check_output_outside_source,
    convert_folder,
    raw_folder,
)
from qsmxt_app.convert.detect import Input
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.limits import available_cpus
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import (
    PRIVATE,
    RunFolder,
    create_folder,
    create_run_folder,
    log_to,
    stop_logging,
)

log = logging.getLogger("qsmxt")


def convert_input(request: Request, found: Input) -> tuple[RunFolder, ConversionOutcome]:
    """Convert the input of a run, and tell people how it went.

    Returns
    -------
    RunFolder, ConversionOutcome
        Where the run notes what it does, and the dataset to go on with.

    Raises
    ------
    QsmxtError
        What keeps the conversion from its end.
    """
    output = request.output_dir.absolute()
    raw = raw_folder(output, request.settings)
    check_output_outside_source(request.bids_dir, (output, raw, request.work_dir))
    initialise_derivative(output, raw, __version__)
    folder = create_run_folder(output, request.settings, request.command)
    work_dir = create_folder(create_folder(request.work_dir, PRIVATE) / "conversion", PRIVATE)
    handler = log_to(folder, request.verbosity)
    try:
        log.info("%s", request.command)
        n_procs = request.settings.n_cpus or available_cpus()
        outcome = convert_folder(request.bids_dir, found, output, request.settings, work_dir, n_procs)
        _tell(outcome, request)
    except Exception:
        log.exception("the conversion ended early")
        raise
    finally:
        stop_logging(handler)
    return folder, outcome


def show_conversion(request: Request, found: Input) -> None:
    """Print what would be converted."""
    files = f"{len(found.nifti)} NIfTI files" if found.kind == "nifti" else "DICOM files"
    raw = raw_folder(request.output_dir, request.settings)
    console = PlainConsole()
    console.print(f"Would convert the {files} of {request.bids_dir} to {raw}, and go on from there.")
    console.print("--convert-only stops after the conversion.")


def _tell(outcome: ConversionOutcome, request: Request) -> None:
    console = PlainConsole(stderr=True)
    for line in outcome.failures:
        log.error("%s", line)
        console.print(f"not converted: {line}")
    lines = [
        f"{outcome.n_images} images in {_shown(outcome.raw)}, {outcome.n_new} of them new.",
        *outcome.notes,
    ]
    if request.settings.convert_only:
        lines += [f"no susceptibility map: {reason}" for reason in outcome.reasons]
    for line in lines:
        log.info("%s", line)
        if request.verbosity >= 0:
            console.print(line)


def _shown(path: Path) -> str:
    """Path from the current folder, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
