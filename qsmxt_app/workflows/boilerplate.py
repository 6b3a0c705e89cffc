"""The methods text before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qsmxt_app.report.citation import write_citations
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.records import planned_record


def write_boilerplate(
    scans: Iterable[ScanPlan], *, bids_dir: Path, output_dir: Path
) -> tuple[Path, Path, Path]:
    """Write what would be run as the methods of a paper.

    Parameters
    ----------
    scans
        Those that would be processed.
    bids_dir, output_dir
        The raw dataset, and the folder whose `logs` the text goes to.

    Returns
    -------
    tuple of pathlib.Path
        The Markdown, HTML and BibTeX files.
    """
    return write_citations(output_dir, [planned_record(scan, bids_dir) for scan in scans])
