"""The conversion of a folder of scanner files, before its participants are run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from qsmxt_app import __version__
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.convert.command import (
    ConversionOutcome,
    check_output_outside_source,
    convert_folder,
    preview_folder,
    raw_folder,
)
from qsmxt_app.convert.detect import Input
from qsmxt_app.convert.dicom.conversion_messages import NO_MAP
from qsmxt_app.errors import UnusableData
from qsmxt_app.private_folder import PRIVATE
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.limits import available_cpus
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import (
    RunFolder,
    create_folder,
    create_run_folder,
    log_to,
    stop_logging,
)

log = logging.getLogger("qsmxt")


def convert_input(request: Request, found: Input) -> tuple[RunFolder, ConversionOutcome]:
    """Convert the input of a run, and print a summary.

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


DICOM_COLUMNS = ("series", "description", "subject", "session", "role", "status", "reason", "became")
NIFTI_COLUMNS = ("file", "subject", "session", "suffix", "part", "echo_time", "field_strength", "note")


def show_conversion(request: Request, found: Input) -> None:
    """Print what would be converted: the main columns of the review table, and what a run would say.

    Raises
    ------
    QsmxtError
        What would keep a run from converting anything.
    """
    settings, output = request.settings, request.output_dir.absolute()
    raw = raw_folder(output, settings)
    check_output_outside_source(request.bids_dir, (output, raw, request.work_dir))
    request.check_folders(raw)
    n_procs = settings.n_cpus or available_cpus()
    rows, unread = preview_folder(request.bids_dir, found, output, settings, request.work_dir, n_procs)
    console = PlainConsole()
    columns = NIFTI_COLUMNS if found.kind == "nifti" else DICOM_COLUMNS
    for line in (*_aligned(rows, columns), *unread):
        console.print(line)
    if found.kind != "nifti" and not any(row["became"] for row in rows):
        raise UnusableData(
            f"{request.bids_dir}: nothing would be converted.", "The table says why; nothing was written."
        )
    console.print(f"Would convert {request.bids_dir} to {raw}; nothing was written.")
    console.print("--convert-only stops after the conversion.")


def _aligned(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[str]:
    """Lines of a table with columns of equal width; empty columns are left out."""
    shown = [name for name in columns if any(row.get(name) for row in rows)]
    table = [shown, *([_abridged(row.get(name, "")) for name in shown] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]


def _abridged(cell: str) -> str:
    """Return the first of several file names, and how many more there are."""
    names = cell.split()
    several = len(names) > 1 and all(name.endswith(".nii.gz") for name in names)
    return f"{names[0]} and {len(names) - 1} more" if several else cell


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
        lines += map(NO_MAP.format, outcome.reasons)
    for line in lines:
        log.info("%s", line)
        if request.verbosity >= 0:
            console.print(line)


def _shown(path: Path) -> str:
    """Path from the current folder, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
