"""What is shown or written again without running a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Reports and dry runs")


@dataclass(frozen=True)
class ShowingSettings:
    """What is shown or written again without running a reconstruction."""

    dry_run: bool = setting(False, "print what would be run, without writing anything")
    reports_only: bool = setting(False, "write the reports again from existing outputs")
    boilerplate_only: bool = setting(False, "write only the methods text, to OUTPUT_DIR/logs")
    report_volumes: str = setting(
        "small",
        "volumes embedded in the report for the 3-D viewer; small: pages below 15 MB",
        choices=("none", "small", "full"),
    )
