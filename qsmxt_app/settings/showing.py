"""What is shown or written again without a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Looking without running")


@dataclass(frozen=True)
class ShowingSettings:
    """What is shown or written again without a reconstruction."""

    dry_run: bool = setting(False, "show what would be run, and write nothing")
    reports_only: bool = setting(False, "write the reports again from finished outputs")
    boilerplate_only: bool = setting(
        False, "write the methods text of what would be run to OUTPUT_DIR/logs, and compute nothing"
    )
    report_volumes: str = setting(
        "small",
        "volumes in the report's 3-D viewer; small keeps a page below 15 MB",
        choices=("none", "small", "full"),
    )
