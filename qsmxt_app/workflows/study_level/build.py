"""From participants to a template: rigid, affine and deformable rounds.

Participants for whom a step fails are left out of the following steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsmxt_app.bids.headers import read_header
from qsmxt_app.errors import UnusableData
from qsmxt_app.group.grid import common_resolution
from qsmxt_app.group.shape import starting_point
from qsmxt_app.registration import linear, save_transform
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.node_base import load_mask
from qsmxt_app.workflows.study_level.alignment import (
    RegisterDeformable,
    RegisterLinear,
    RegisterToTemplate,
)
from qsmxt_app.workflows.study_level.study import BuiltTemplate, Chain, Job, Person, Stages, voxels_of
from qsmxt_app.workflows.study_level.template import AverageLinear, UpdateTemplate

ROUND_FINEST_MM = (4.0, 2.0)
"""Finest level of the first rounds: while the template is soft, detail only costs time."""


class TemplateBuilder:
    """Builds a template, or registers participants to an existing one.

    Parameters
    ----------
    stages
        Runs the steps.
    settings
        Of the run.
    """

    def __init__(self, stages: Stages, settings: Settings) -> None:
        self.stages, self.settings = stages, settings

    def build(self, people: Sequence[Person]) -> BuiltTemplate:
        """Build a template of participants.

        Raises
        ------
        UnusableData
            No participants remain.
        """
        resolution = self.settings.template_resolution or common_resolution(
            [read_header(scan.files["chi"]).voxel_size for person in people for scan in person.scans]
        )
        rigid = self._rigid(people)
        people = self._remaining(people, rigid)
        template = self._average("rigid", people, [rigid[person.label] for person in people], resolution)
        if len(people) == 1:
            return self._linear_only(people, template, "there is one participant: it is the template")
        affine = self._affine(people, template)
        people = self._remaining(people, affine)
        template = self._average("affine", people, [affine[person.label] for person in people], resolution)
        return self._rounds(people, template)

    def bring_to(self, people: Sequence[Person], template: Mapping[str, Path]) -> BuiltTemplate:
        """Register participants to an existing template, which is left as it is."""
        channels = _channels(people, template)
        inside = {"fixed_mask": str(template["mask"])} if "mask" in template else {}
        jobs = {
            person.label: Job(
                "deform",
                f"existing_sub-{person.label}",
                RegisterToTemplate(
                    **inside,
                    fixed=[str(template[name]) for name in channels],
                    moving=[str(person.images[name]) for name in channels],
                    method=self.settings.registration,
                ),
                voxels_of([template[channels[0]]]),
            )
            for person in people
        }
        good = self.stages.run(list(jobs.values()))
        chains = {label: self._deformation(job.name) for label, job in jobs.items() if job.name in good}
        self._remaining(people, chains)
        return BuiltTemplate(template, chains, (), "participants were registered to an existing template")

    def _rigid(self, people: Sequence[Person]) -> dict[str, Path]:
        """Register all participants to one of them, which only sets where the search begins."""
        first = people[starting_point([_mask_volume(person.images["mask"]) for person in people])]
        nothing = self.stages.work_dir / "group" / "identity.txt"
        nothing.parent.mkdir(parents=True, exist_ok=True)
        # written once: steps that read it are compared by its time
        if not nothing.exists():
            save_transform(linear(np.eye(4)), nothing)
        jobs = {
            person.label: Job(
                "rigid",
                f"sub-{person.label}",
                RegisterLinear(
                    fixed=str(first.images["magnitude"]),
                    moving=str(person.images["magnitude"]),
                    model="rigid",
                ),
                voxels_of([first.images["magnitude"]]),
            )
            for person in people
            if person is not first
        }
        good = self.stages.run(list(jobs.values()))
        found = {label: self._linear_file(job.name) for label, job in jobs.items() if job.name in good}
        return {first.label: nothing, **found}

    def _affine(self, people: Sequence[Person], template: BuiltTemplate) -> dict[str, Path]:
        fixed = template.images["magnitude"]
        jobs = {
            person.label: Job(
                "affine",
                f"sub-{person.label}",
                RegisterLinear(
                    fixed=str(fixed),
                    moving=str(person.images["magnitude"]),
                    initial=template.chains[person.label].transforms[0],
                    model="affine",
                ),
                voxels_of([fixed]),
            )
            for person in people
        }
        good = self.stages.run(list(jobs.values()))
        return {label: self._linear_file(job.name) for label, job in jobs.items() if job.name in good}

    def _average(
        self, stage: str, people: Sequence[Person], transforms: Sequence[Path], resolution: float
    ) -> BuiltTemplate:
        """Put the template at the mean of linear transforms."""
        step = AverageLinear(
            **_image_lists(people), transforms=[str(path) for path in transforms], resolution=resolution
        )
        voxels = voxels_of([person.images["mask"] for person in people])
        job = Job("average", stage, step, voxels, content=False)
        self._must([job])
        folder = self.stages.folder(job.name)
        chains = {
            person.label: Chain((str(folder / f"to_template_{number}.txt"),), ("",))
            for number, person in enumerate(people)
        }
        return BuiltTemplate(_template_images(folder, people), chains)

    def _rounds(self, people: Sequence[Person], template: BuiltTemplate) -> BuiltTemplate:
        """Register all participants to the template and update it, until it no longer changes."""
        affine, noted = template.chains, []
        edge = min(_grid(template.images["magnitude"])[1])
        ended = f"{self.settings.template_rounds} rounds, as requested"
        for number in range(1, self.settings.template_rounds + 1):
            finest = ROUND_FINEST_MM[number - 1] if number <= len(ROUND_FINEST_MM) else 0.0
            found = self._deform(number, people, template, affine, finest)
            people = self._remaining(people, found)
            template, facts = self._update(number, people, template, found)
            noted.append(facts)
            self.stages.display.note(
                f"template, round {number}: changed by {facts['change']:.4f} "
                f"(converged below {self.settings.template_tolerance:g})"
            )
            if facts["change"] < self.settings.template_tolerance and finest <= 1.5 * edge:
                ended = f"it changed by less than {self.settings.template_tolerance:g}"
                break
        return BuiltTemplate(template.images, template.chains, tuple(noted), ended)

    def _deform(
        self,
        number: int,
        people: Sequence[Person],
        template: BuiltTemplate,
        affine: Mapping[str, Chain],
        finest: float,
    ) -> dict[str, Chain]:
        channels = _channels(people, template.images)
        voxels = voxels_of([template.images["magnitude"]])
        jobs = {
            person.label: Job(
                "deform",
                f"{number}_sub-{person.label}",
                RegisterDeformable(
                    fixed=[str(template.images[name]) for name in channels],
                    moving=[str(person.images[name]) for name in channels],
                    initial=affine[person.label].transforms[0],
                    finest_mm=finest,
                    method=self.settings.registration,
                ),
                voxels,
            )
            for person in people
        }
        good = self.stages.run(list(jobs.values()))
        return {label: self._deformation(job.name) for label, job in jobs.items() if job.name in good}

    def _update(
        self, number: int, people: Sequence[Person], template: BuiltTemplate, found: Mapping[str, Chain]
    ) -> tuple[BuiltTemplate, dict[str, float]]:
        step = UpdateTemplate(
            **_image_lists(people),
            transforms=[found[person.label].transforms[0] for person in people],
            inverse_transforms=[found[person.label].inverse_transforms[0] for person in people],
            template=str(template.images["magnitude"]),
        )
        voxels = voxels_of([template.images["magnitude"]])
        job = Job("update", str(number), step, voxels, content=False)
        self._must([job])
        folder = self.stages.folder(job.name)
        recentre = self._deformation(job.name)
        chains = {
            person.label: Chain(
                (*found[person.label].transforms, *recentre.transforms),
                (*found[person.label].inverse_transforms, *recentre.inverse_transforms),
            )
            for person in people
        }
        facts = self.stages.facts(job.name)
        noted = {key: float(facts[key]) for key in ("change", "shape_update_mm")}
        return BuiltTemplate(_template_images(folder, people), chains), noted

    def _linear_only(self, people: Sequence[Person], template: BuiltTemplate, ended: str) -> BuiltTemplate:
        return BuiltTemplate(template.images, template.chains, (), ended)

    def _must(self, jobs: Sequence[Job]) -> None:
        """Run steps without which nothing can go on."""
        missing = {job.name for job in jobs} - self.stages.run(jobs)
        if missing:
            name = sorted(missing)[0]
            raise UnusableData(f"the template cannot be made: {name}: {self.stages.failures[name]}.")

    def _remaining(self, people: Sequence[Person], found: Mapping[str, Any]) -> list[Person]:
        return self.stages.remaining([person for person in people if person.label in found])

    def _linear_file(self, job: str) -> Path:
        return self.stages.folder(job) / "transform.txt"

    def _deformation(self, job: str) -> Chain:
        folder = self.stages.folder(job)
        return Chain((str(folder / "transform.h5"),), (str(folder / "inverse_transform.h5"),))


def _channels(people: Sequence[Person], template: Mapping[str, Path]) -> list[str]:
    """Return the images that all participants and the template have, the one with most anatomy first."""
    names = ("magnitude", "t1w", "chi")
    found = [name for name in names if name in template and all(name in one.images for one in people)]
    if not {"magnitude", "t1w"} & set(found):
        raise UnusableData(
            "the template has neither a magnitude (T2starw) nor a T1w image that all participants have.",
            "Give another --template-from.",
        )
    return found


def _image_lists(people: Sequence[Person]) -> dict[str, list[str]]:
    names = {"magnitudes": "magnitude", "masks": "mask", "chis": "chi"}
    if all("t1w" in person.images for person in people):
        names["t1ws"] = "t1w"
    return {trait: [str(person.images[name]) for person in people] for trait, name in names.items()}


def _template_images(folder: Path, people: Sequence[Person]) -> dict[str, Path]:
    names = ["magnitude", "mask", "chi"]
    names += ["t1w"] if all("t1w" in person.images for person in people) else []
    return {name: folder / f"{name}.nii" for name in names}


def _mask_volume(path: Path) -> float:
    return float(np.count_nonzero(load_mask(path)) * np.prod(_grid(path)[1]))


def _grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    header = nib.nifti1.load(path).header
    return header.get_data_shape(), tuple(float(edge) for edge in header.get_zooms()[:3])
