"""The command ``qsm dicom``: a map as a DICOM series."""

from __future__ import annotations

import argparse
from pathlib import Path

from qsmxt_app.errors import CannotCreateOutput

HELP = "write a map as a DICOM series, in the study of its scan"
KINDS = ("chi", "r2star", "swi")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--map", type=Path, required=True, metavar="FILE", help="map (NIfTI); chi in ppm, R2* in 1/s")
    add("--kind", choices=KINDS, default="chi", help="what it holds (default: chi, written in ppb)")
    text = "DICOM files of its scan: patient, study and frame of reference (default: a study of nobody)"
    add("--source-dicom", type=Path, metavar="DIR", help=text)
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder, new or empty")


def run(arguments: argparse.Namespace) -> None:
    """Write the series.

    Raises
    ------
    NoInput, UnusableData, CannotCreateOutput
        Files that cannot be read, used or written.
    """
    from qsmxt_app.bids.headers import read_header
    from qsmxt_app.convert.dicom.export import QUANTITIES, read_source, write_series
    from qsmxt_app.tools.images import read_image

    output: Path = arguments.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CannotCreateOutput(f"{output}: is not an empty folder.", "Choose another folder.")
    values, header = read_image(arguments.map), read_header(arguments.map)
    source = read_source(arguments.source_dicom) if arguments.source_dicom else None
    written = write_series(values, header.affine, output, QUANTITIES[arguments.kind], source)
    print(f"{len(written)} images in {output}")
