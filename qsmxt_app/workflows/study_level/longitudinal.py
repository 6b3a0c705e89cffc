"""The step that measures how regions change between the sessions of a participant, and its table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from qsmxt_app.bids.atomic import write_json, write_text
from qsmxt_app.errors import UnusableData
from qsmxt_app.group.longitudinal import COLUMNS, changes_tsv, common_labels, regional_changes, session_times
from qsmxt_app.group.masked import apply_masked
from qsmxt_app.registration import load_transform, resample_labels
from qsmxt_app.segment.regions import Region, read_regions
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec, load, load_image
from qsmxt_app.workflows.study_level.inputs import GroupScan
from qsmxt_app.workflows.study_level.study import Job, Person, Stages, voxels_of

TABLE = "group_desc-change_stats.tsv"


class MeasureChangeInputSpec(StepInputSpec):
    """Inputs of `MeasureChange`: of each scan."""

    chis = traits.List(File(exists=True), mandatory=True)
    masks = traits.List(File(exists=True), mandatory=True)
    labels = traits.List(File(exists=True), mandatory=True)
    noises = traits.List(File(exists=True), desc="standard error of each map")
    to_person = traits.List(File(exists=True), mandatory=True, desc="to the mean position of all scans")
    like = File(exists=True, mandatory=True, desc="image there")
    times = traits.List(traits.Float, mandatory=True)


class MeasureChange(Step):
    """Bring the scans of a participant to their mean position, and measure regions that their labels share.

    No scan is the reference: all are interpolated once, so that none is smoother than the others.
    """

    input_spec, output_spec = MeasureChangeInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Return the change of each region."""
        given = self.inputs
        grid = load_image(given.like).grid
        moves = [load_transform(Path(file)) for file in given.to_person]
        masks = [load(file) > 0 for file in given.masks]

        def brought(files: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
            return [
                apply_masked(load_image(file), mask, grid, move)
                for file, mask, move in zip(files, masks, moves, strict=True)
            ]

        maps = brought(given.chis)
        noises = [values for values, _ in brought(given.noises)] if isdefined(given.noises) else None
        labels = []
        for file, move in zip(given.labels, moves, strict=True):
            image = load_image(file)
            labels.append(resample_labels(image.with_array(np.rint(image.array)), grid, move).labels.array)
        known = np.logical_and.reduce([inside for _, inside in maps])
        shared = np.where(known, common_labels(labels), 0)
        found = regional_changes([values for values, _ in maps], noises, shared, given.times)
        return {
            "changes": [[index, one.voxels, one.mean, one.change, one.error] for index, one in found.items()]
        }


def measure_changes(
    stages: Stages, people: Sequence[Person], sessions: Sequence[Mapping[str, str]]
) -> list[dict[str, object]]:
    """Measure the change of all participants with labelled scans of several sessions.

    Parameters
    ----------
    stages
        Runs the steps.
    people
        Whose scans were averaged.
    sessions
        Rows of all sessions.tsv, with a `participant_id`.
    """
    chosen = {person.label: person for person in people if _has_sessions(person)}
    timed = {label: _times(person, sessions) for label, person in chosen.items()}
    jobs = {
        label: Job(
            "change",
            f"sub-{label}",
            MeasureChange(**_files(person), like=str(person.images["mask"]), times=timed[label][0]),
            voxels_of([person.images["mask"]]),
        )
        for label, person in chosen.items()
    }
    good = stages.run(list(jobs.values()))
    rows: list[dict[str, object]] = []
    for label, job in jobs.items():
        if job.name in good:
            rows += _rows(chosen[label], timed[label], stages.facts(job.name)["changes"])
    return rows


def write_changes(rows: Sequence[Mapping[str, object]], output_dir: Path) -> str:
    """Write the table and its data dictionary; return its name."""
    write_text(output_dir / TABLE, changes_tsv(rows))
    about: dict[str, dict[str, str]] = {name: {"Description": text} for name, text in COLUMNS.items()}
    for name in ("mean", "change", "error"):
        about[name]["Units"] = "ppm" if name == "mean" else "ppm per unit of time"
    write_json((output_dir / TABLE).with_suffix(".json"), about)
    return TABLE


def _has_sessions(person: Person) -> bool:
    sessions = {scan.entities.get("ses", "") for scan in person.scans}
    atlases = {scan.atlas for scan in person.scans}
    return len(sessions) > 1 and len(atlases) == 1 and all("dseg" in scan.files for scan in person.scans)


def _times(person: Person, sessions: Sequence[Mapping[str, str]]) -> tuple[list[float], str]:
    own = {
        row.get("session_id", "").removeprefix("ses-"): row.get("acq_time", "")
        for row in sessions
        if row.get("participant_id") == f"sub-{person.label}"
    }
    return session_times([scan.entities.get("ses", "") for scan in person.scans], own)


def _files(person: Person) -> dict[str, list[str]]:
    def files(key: str) -> list[str]:
        return [str(scan.files[key]) for scan in person.scans]

    noisy = all("chi_noise" in scan.files for scan in person.scans)
    return {
        "chis": files("chi"),
        "masks": files("mask"),
        "labels": files("dseg"),
        "to_person": [str(file) for file in person.to_person],
        **({"noises": files("chi_noise")} if noisy else {}),
    }


def _rows(
    person: Person, timed: tuple[list[float], str], changes: Sequence[Sequence[float | None]]
) -> Iterator[dict[str, object]]:
    times, unit = timed
    names = _names(person.scans[0])
    for index, voxels, mean, change, error in changes:
        number = int(index or 0)
        region = names.get(number, Region(number, f"region-{number}"))
        yield {
            "participant_id": f"sub-{person.label}",
            "atlas": person.scans[0].atlas,
            "index": number,
            "region": region.name,
            "hemisphere": region.hemisphere,
            "n_scans": len(person.scans),
            "n_voxels": int(voxels or 0),
            "mean": mean,
            "change": change,
            "error": math.nan if error is None else error,
            "per": unit,
            "interval": max(times) - min(times),
        }


def _names(scan: GroupScan) -> dict[int, Region]:
    file = scan.files["dseg"]
    try:
        return {one.index: one for one in read_regions(file.with_name(file.name.split(".")[0] + ".tsv"))}
    except UnusableData:
        return {}
