"""The scans of each participant, normalised, aligned and averaged: what a template is built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmxt_app.workflows.study_level.alignment import AveragePerson, PrepareScan, RegisterLinear
from qsmxt_app.workflows.study_level.inputs import GroupScan
from qsmxt_app.workflows.study_level.study import Job, Person, Stages, voxels_of

T1W_FILES = ("t1w", "t1w_mask", "xfm_t1w_to_qsm")


def average_participants(stages: Stages, scans: Mapping[str, Sequence[GroupScan]]) -> list[Person]:
    """Average the scans of every participant.

    Parameters
    ----------
    stages
        Runs the steps.
    scans
        Of each participant, by label.

    Raises
    ------
    UnusableData
        No participants remain.
    """
    ordered = {label: sorted(found, key=_without_t1w) for label, found in scans.items()}
    with_t1w = all(not _without_t1w(found[0]) for found in ordered.values())
    everyone = [scan for found in ordered.values() for scan in found]
    prepared = _prepare(stages, everyone, with_t1w, ordered)
    aligned = _align(stages, ordered, prepared)
    jobs = {}
    for label, found in ordered.items():
        if all(scan.stem in prepared for scan in found) and len(aligned[label]) == len(found) - 1:
            jobs[label] = _person_job(label, found, prepared, aligned[label], with_t1w)
    good = stages.run(list(jobs.values()))
    return stages.remaining(
        [
            _person(stages, label, tuple(ordered[label]), prepared, with_t1w)
            for label, job in jobs.items()
            if job.name in good
        ]
    )


def _prepare(
    stages: Stages, scans: Sequence[GroupScan], with_t1w: bool, ordered: Mapping[str, Sequence[GroupScan]]
) -> dict[str, Path]:
    """Normalise all magnitudes, and the T1w images; return files by stem."""
    jobs = {
        scan.stem: Job(
            "prepare",
            scan.stem,
            PrepareScan(magnitude=str(scan.files["magnitude"]), mask=str(scan.files["mask"])),
            voxels_of([scan.files["magnitude"]]),
        )
        for scan in scans
    }
    if with_t1w:
        for label, found in ordered.items():
            files = found[0].files
            step = PrepareScan(magnitude=str(files["t1w"]), mask=str(files["t1w_mask"]))
            jobs[f"t1w {label}"] = Job("prepare", f"t1w_sub-{label}", step, voxels_of([files["t1w"]]))
    good = stages.run(list(jobs.values()))
    return {key: stages.folder(job.name) / "image.nii" for key, job in jobs.items() if job.name in good}


def _align(
    stages: Stages, ordered: Mapping[str, Sequence[GroupScan]], prepared: Mapping[str, Path]
) -> dict[str, list[Path]]:
    """Register further scans of participants to their first one; return the transforms of each."""
    jobs: dict[str, list[Job]] = {label: [] for label in ordered}
    for label, found in ordered.items():
        if not all(scan.stem in prepared for scan in found):
            continue
        first = prepared[found[0].stem]
        for scan in found[1:]:
            step = RegisterLinear(fixed=str(first), moving=str(prepared[scan.stem]), model="rigid")
            jobs[label].append(Job("align", scan.stem, step, voxels_of([first])))
    good = stages.run([job for several in jobs.values() for job in several])
    return {
        label: [stages.folder(job.name) / "transform.txt" for job in several if job.name in good]
        for label, several in jobs.items()
    }


def _person_job(
    label: str,
    scans: Sequence[GroupScan],
    prepared: Mapping[str, Path],
    aligned: Sequence[Path],
    with_t1w: bool,
) -> Job:
    inputs: dict[str, Any] = {
        "images": [str(prepared[scan.stem]) for scan in scans],
        "masks": [str(scan.files["mask"]) for scan in scans],
        "chis": [str(scan.files["chi"]) for scan in scans],
    }
    if aligned:
        inputs["transforms"] = [str(path) for path in aligned]
    if with_t1w and f"t1w {label}" in prepared:
        inputs["t1w"] = str(prepared[f"t1w {label}"])
        inputs["t1w_to_scan"] = str(scans[0].files["xfm_t1w_to_qsm"])
    voxels = voxels_of([scan.files["chi"] for scan in scans])
    return Job("person", f"sub-{label}", AveragePerson(**inputs), voxels)


def _person(
    stages: Stages, label: str, scans: tuple[GroupScan, ...], prepared: Mapping[str, Path], with_t1w: bool
) -> Person:
    folder = stages.folder(Job("person", f"sub-{label}", PrepareScan(), 0).name)
    images = {name: folder / f"{name}.nii" for name in ("magnitude", "mask", "chi")}
    t1w = prepared.get(f"t1w {label}") if with_t1w else None
    if t1w is not None:
        images["t1w"] = folder / "t1w.nii"
    return Person(
        label,
        scans,
        images,
        tuple(folder / f"to_person_{number}.txt" for number in range(len(scans))),
        tuple(prepared[scan.stem] for scan in scans),
        (t1w, scans[0].files["xfm_t1w_to_qsm"]) if t1w is not None else None,
    )


def _without_t1w(scan: GroupScan) -> bool:
    return not all(name in scan.files for name in T1W_FILES)
