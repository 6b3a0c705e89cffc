"""The methods text before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.report.citation import write_citations
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.preset_choice import settings_for
from qsmxt_app.workflows.records import planned_record


def write_boilerplate(
    acquisitions: Iterable[Acquisition], settings: Settings, *, bids_dir: Path, output_dir: Path
) -> tuple[Path, Path, Path]:
    """Write what would be run as the methods of a paper.

    Parameters
    ----------
    acquisitions
        Those that would be processed.
    settings
        Of the run.
    bids_dir, output_dir
        The raw dataset, and the folder whose `logs` the text goes to.

    Returns
    -------
    tuple of pathlib.Path
        The Markdown, HTML and BibTeX files.
    """
    planned = [
        planned_record(acquisition, settings_for(acquisition, settings)[0], bids_dir)
        for acquisition in acquisitions
    ]
    return write_citations(output_dir, planned)
