"""Summary of a submission, printed before the group level starts."""

from __future__ import annotations

from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.cluster.tasks import Ending, read_endings
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.outcome import SOMETHING_FAILED
from qsmxt_app.workflows.output_locks import write_shared_pages

MISSING = "missing.txt"


def name_missing(table: Path, output_dir: Path) -> int:
    """List tasks of a submission that did not complete, in the terminal and in a file beside its table.

    The pages that cover all participants are written again, since the last task may have been killed before.

    Parameters
    ----------
    table
        The submission's table of tasks.
    output_dir
        Where the study's results are.

    Returns
    -------
    int
        0 if all tasks completed, otherwise 1.
    """
    endings = read_endings(table)
    write_shared_pages(output_dir)
    missing = [ending for ending in endings if not ending.done]
    lines = _lines(missing, len(endings), table.parent)
    write_text(table.parent / MISSING, "".join(f"{line}\n" for line in lines if missing))
    console = PlainConsole(stderr=True)
    for line in lines:
        console.print(line)
    return SOMETHING_FAILED if missing else 0


def _lines(missing: list[Ending], count: int, folder: Path) -> list[str]:
    if not missing:
        return [f"All {count} tasks are done."]
    return [
        f"{len(missing)} of {count} tasks did not complete:",
        *(f"  {ending.text}" for ending in missing),
        f"Logs, one file per task: {folder}. The same command with --retry-failed submits them again.",
    ]
