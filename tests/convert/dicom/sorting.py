"""Sort a folder as `convert_dicom` does, without converting: what tests of find, sort and join look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dicom_writer import DicomSeries, write_all

from qsmxt_app.convert.dicom.find import find_dicom
from qsmxt_app.convert.dicom.planned_acquisition import PlannedAcquisition
from qsmxt_app.convert.dicom.sorted_series import SortedSeries, sort_series
from qsmxt_app.convert.table import read_table
from qsmxt_app.settings import Settings


def sort_folder(folder: Path, output: Path, **settings: Any) -> SortedSeries:
    """Find, sort and join the files of a folder, and write the review table into ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    ready, _ = sort_series(find_dicom(folder), output / "conversion", replace(Settings(), **settings))
    ready.write(folder, {}, {}, finished=False)
    return ready


def sort_written(folder: Path, *series: DicomSeries, **settings: Any) -> SortedSeries:
    """Write series and sort them."""
    write_all(folder / "in", series)
    return sort_folder(folder / "in", folder / "out", **settings)


def images_of(acquisition: PlannedAcquisition) -> list[tuple[str, str, int | None, float]]:
    """Suffix, component, echo and echo time (ms) of each image of an acquisition, sorted."""
    return sorted(
        (m.suffix, m.component, m.echo, round(1000 * (m.stack.echo_time or 0), 3))
        for m in acquisition.members
    )


def review_rows(output: Path) -> dict[str, dict[str, str]]:
    """Rows of the review table by the series' description."""
    return {row["description"]: row for row in read_table(output / "conversion.tsv").rows}
