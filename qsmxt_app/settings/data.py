"""Which participants, sessions and scans are processed."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Which data")


@dataclass(frozen=True)
class DataSettings:
    """Which participants, sessions and scans are processed."""

    participant_label: tuple[str, ...] = setting(
        (), "participants to process, with or without sub- (default: all)", metavar="LABEL"
    )
    session_label: tuple[str, ...] = setting((), "sessions to process (default: all)", metavar="LABEL")
    run_label: tuple[str, ...] = setting((), "runs to process (default: all)", metavar="LABEL")
    acquisition_label: tuple[str, ...] = setting(
        (), "acquisitions (acq-) to process (default: all)", metavar="LABEL", aliases=("acq-label",)
    )
    rec_label: tuple[str, ...] = setting(
        (),
        "reconstructions (rec-) to process (default: all with phase)",
        metavar="LABEL",
        aliases=("reconstruction-label",),
    )
    echoes: tuple[str, ...] = setting(
        (), "echoes to use, as 1-5 or a list of numbers (default: all)", metavar="N"
    )
    chimap_derivatives: Path | None = setting(
        None,
        "folder of BIDS derivatives with maps of another program (*_Chimap) to evaluate: none is computed",
        kind="folder",
        metavar="DIR",
    )
    bids_filter_file: Path | None = setting(
        None,
        "JSON file with BIDS filters, as in fMRIPrep: megre, t2starw, mpm, vfa, gre, qsm (all these), t1w",
        kind="file",
    )
    bids_database_dir: Path | None = setting(
        None,
        "folder of a saved pybids index of BIDS_DIR, used if it exists and created otherwise; "
        "remove it after the dataset has changed",
        metavar="DIR",
    )
    skip_bids_validation: bool = setting(
        False,
        "skip the BIDS validation of the input",
        aliases=("skip-bids-validator",),
    )
