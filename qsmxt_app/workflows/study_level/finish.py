"""From a template to results: maps warped there, averages, labels, and values of custom regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmxt_app.bids.derivatives import bids_uri
from qsmxt_app.maps.measured import AVERAGED, MEASURED
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.node_base import read_json
from qsmxt_app.workflows.study_level.custom_segmentation import (
    CustomSegmentation,
    region_inputs,
)
from qsmxt_app.workflows.study_level.custom_values import MeasureCustomSegmentation
from qsmxt_app.workflows.study_level.inputs import GroupScan
from qsmxt_app.workflows.study_level.maps import (
    IMAGES,
    AverageMaps,
    MajorityVoteLabels,
    WarpToTemplate,
    WriteTemplate,
    template_path,
)
from qsmxt_app.workflows.study_level.study import BuiltTemplate, Job, Person, Stages, voxels_of


@dataclass(frozen=True)
class WarpedScan:
    """What of one scan is in the template: maps by kind, the transforms to and from there, its similarity."""

    scan: GroupScan
    maps: Mapping[str, Path]
    to_template: Path
    from_template: Path
    similarity: float | None


class Finisher:
    """Writes the results of the group level.

    Parameters
    ----------
    stages
        Runs the steps.
    settings
        Of the run.
    name
        Of the template.
    existing
        Whether it was given and not built.
    """

    def __init__(self, stages: Stages, settings: Settings, name: str, *, existing: bool) -> None:
        self.stages, self.settings, self.name, self.existing = stages, settings, name, existing
        self.output_dir = stages.output_dir

    def warp(self, people: Sequence[Person], template: BuiltTemplate) -> dict[str, list[WarpedScan]]:
        """Warp the maps of all scans to the template; return them by participant."""
        jobs: dict[str, tuple[Person, GroupScan, Job]] = {}
        voxels = voxels_of([template.images[_space(template.images)]])
        for person in people:
            if person.label not in template.chains:
                continue
            for number, scan in enumerate(person.scans):
                step = WarpToTemplate(**self._warp_inputs(person, number, template))
                jobs[scan.stem] = (person, scan, Job("warp", scan.stem, step, voxels))
        good = self.stages.run([job for _, _, job in jobs.values()])
        warped: dict[str, list[WarpedScan]] = {}
        for person, scan, job in jobs.values():
            if job.name in good:
                warped.setdefault(person.label, []).append(self._warped_scan(scan, job))
        return warped

    def average(self, warped: Mapping[str, Sequence[WarpedScan]]) -> dict[str, str]:
        """Average the maps of participants; return what was written, by kind."""
        jobs = {}
        for kind in IMAGES:
            scans = [
                [str(one.maps[kind]) for one in several if kind in one.maps] for several in warped.values()
            ]
            present = [files for files in scans if files]
            if not present:
                continue
            step = AverageMaps(
                scans=present,
                kind=kind,
                output_dir=str(self.output_dir),
                template=self.name,
                is_template=not self.existing,
            )
            jobs[kind] = Job("maps", kind, step, voxels_of([Path(present[0][0])]), content=False)
        self.stages.run(list(jobs.values()))
        return {kind: path for kind, job in jobs.items() for path in self._first_output(job)}

    def labels(self, warped: Mapping[str, Sequence[WarpedScan]]) -> dict[str, str]:
        """Label the template by a majority vote of all scans; return the images by atlas."""
        by_atlas: dict[str, list[WarpedScan]] = {}
        for several in warped.values():
            for one in several:
                if "dseg" in one.maps and one.scan.atlas:
                    by_atlas.setdefault(one.scan.atlas, []).append(one)
        jobs = {}
        for atlas, found in by_atlas.items():
            inputs: dict[str, Any] = {"scans": [str(one.maps["dseg"]) for one in found]}
            image = found[0].scan.files["dseg"]
            table = image.with_name(image.name.split(".")[0] + ".tsv")
            if table.is_file():
                inputs["table"] = str(table)
            step = MajorityVoteLabels(
                **inputs, output_dir=str(self.output_dir), template=self.name, atlas=atlas
            )
            jobs[atlas] = Job("labels", atlas, step, voxels_of([found[0].maps["dseg"]]), content=False)
        self.stages.run(list(jobs.values()))
        return {atlas: path for atlas, job in jobs.items() for path in self._first_output(job)}

    def write(self, people: Sequence[Person], template: BuiltTemplate) -> dict[str, str]:
        """Write the images that define the space; return them by kind."""
        if self.existing:
            return {}
        scans = [scan for person in people if person.label in template.chains for scan in person.scans]
        inputs = {
            name: str(path) for name, path in template.images.items() if name in ("magnitude", "mask", "t1w")
        }
        step = WriteTemplate(
            **inputs,
            output_dir=str(self.output_dir),
            template=self.name,
            sources=[bids_uri(scan.files["magnitude"], self.output_dir, "") for scan in scans],
        )
        job = Job("write", "template", step, voxels_of([template.images["magnitude"]]))
        self.stages.run([job])
        names = [name for name in ("magnitude", "t1w", "mask") if name in inputs]
        return dict(zip(names, self.stages.facts(job.name).get("outputs", []), strict=False))

    def measure_custom(
        self,
        custom: CustomSegmentation,
        on: GroupScan | None,
        scans: Sequence[GroupScan],
        warped: Sequence[WarpedScan],
    ) -> dict[str, Path]:
        """Measure a custom segmentation in every scan that transforms lead to; return the tables by stem.

        Parameters
        ----------
        custom
            The segmentation.
        on
            The scan whose space it is in; None: the template.
        scans
            In which it is measured.
        warped
            Scans with transforms to the template.
        """
        transforms = {one.scan.stem: one for one in warped}
        jobs = {}
        for scan in scans:
            chain = _custom_chain(on, scan, transforms)
            if chain is None:
                continue
            maps = {name: str(scan.files[name]) for name in MEASURED if name in scan.files}
            step = MeasureCustomSegmentation(
                labels=str(custom.file.absolute()),
                regions=region_inputs(custom.regions),
                atlas=custom.atlas,
                transforms=[str(there) for there, _ in chain],
                inverse_transforms=[str(back) for _, back in chain],
                mask=str(scan.files["mask"]),
                **maps,
                erode=self.settings.roi_erode,
                output_dir=str(self.output_dir),
                stem=scan.stem,
                entities=dict(scan.entities),
            )
            jobs[scan.stem] = Job("custom", scan.stem, step, voxels_of([scan.files["chi"]]))
        good = self.stages.run(list(jobs.values()))
        return {
            stem: self.output_dir / self.stages.facts(job.name)["outputs"][-1]
            for stem, job in jobs.items()
            if job.name in good
        }

    def _warp_inputs(self, person: Person, number: int, template: BuiltTemplate) -> dict[str, Any]:
        scan, chain = person.scans[number], template.chains[person.label].after(person.to_person[number])
        space = _space(template.images)
        optional = {name: str(scan.files[name]) for name in (*AVERAGED, "dseg") if name in scan.files}
        if person.t1w is not None and number == 0:
            optional |= {"t1w": str(person.t1w[0]), "t1w_to_scan": str(person.t1w[1])}
        defines = template_path(self.output_dir, self.name, "T2starw")
        return {
            "magnitude": str(person.prepared[number]),
            "mask": str(scan.files["mask"]),
            **optional,
            "like": str(template.images[space]),
            "like_kind": space,
            "transforms": list(chain.transforms),
            "inverse_transforms": list(chain.inverse_transforms),
            "output_dir": str(self.output_dir),
            "template": self.name,
            "reference": str(template.images[space].absolute().as_uri())
            if self.existing
            else bids_uri(defines, self.output_dir, ""),
            "stem": scan.stem,
            "entities": dict(scan.entities),
        }

    def _warped_scan(self, scan: GroupScan, job: Job) -> WarpedScan:
        folder = self.stages.folder(job.name)
        facts = self.stages.facts(job.name)
        written = [self.output_dir / path for path in facts["outputs"]]
        maps = {
            name: path for name in ("magnitude", "t1w", "dseg") if (path := folder / f"{name}.nii").is_file()
        }
        maps |= {name: self.output_dir / path for name, path in facts["maps"].items()}
        return WarpedScan(scan, maps, written[0], written[1], facts["similarity"])

    def _first_output(self, job: Job) -> list[str]:
        return list(read_json(self.stages.folder(job.name) / "facts.json").get("outputs", []))[:1]


def _custom_chain(
    on: GroupScan | None, scan: GroupScan, transforms: Mapping[str, WarpedScan]
) -> list[tuple[Path, Path]] | None:
    """Return the transforms from the space of custom labels to a scan; None where there are none."""
    if on is not None and on.stem == scan.stem:
        return []
    if scan.stem not in transforms or (on is not None and on.stem not in transforms):
        return None
    here = transforms[scan.stem]
    last = (here.from_template, here.to_template)
    if on is None:
        return [last]
    there = transforms[on.stem]
    return [(there.to_template, there.from_template), last]


def _space(images: Mapping[str, Path]) -> str:
    """Return the image that defines the template's grid."""
    return "magnitude" if "magnitude" in images else "t1w"
