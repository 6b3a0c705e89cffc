"""What the group level will work on: read and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.entities import check_label
from qsmxt_app.bids.selection import select_labels
from qsmxt_app.convert.detect import is_bids
from qsmxt_app.errors import NoInput, WrongUsage
from qsmxt_app.group.inconsistent_settings import InconsistentSetting, inconsistent_settings
from qsmxt_app.group.statistics.design import Design
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.study_level.custom_segmentation import (
    CustomSegmentation,
    custom_segmentation_on,
    read_custom_segmentation,
)
from qsmxt_app.workflows.study_level.existing_template import DEFAULT_NAME, ExistingTemplate, read_template
from qsmxt_app.workflows.study_level.inputs import (
    Phenotypes,
    StudyOutputs,
    existing_participants,
    read_phenotypes,
    read_study,
)
from qsmxt_app.workflows.study_level.regional_model import check_model

DEFAULT_GROUP = "group"
"""Column of participants.tsv that pages group by where none is asked for."""


@dataclass(frozen=True)
class GroupPlan:
    """What the group level will work on.

    Attributes
    ----------
    raw
        The raw dataset.
    study
        Usable scans, and what is missing.
    inconsistent_settings
        In what the scans differ that ought to be the same.
    phenotypes
        What participants.tsv and sessions.tsv say.
    name
        Of the template.
    existing
        Existing template to register participants to; None: one is built.
    custom
        A segmentation to measure.
    design
        Of the model that compares regional values, and voxels.
    group_by
        Column of participants.tsv by which pages group participants; empty for none.
    """

    raw: Path
    study: StudyOutputs
    inconsistent_settings: tuple[InconsistentSetting, ...]
    phenotypes: Phenotypes
    name: str
    existing: ExistingTemplate | None
    custom: CustomSegmentation | None
    design: Design | None = None
    group_by: str = ""

    @property
    def groups(self) -> dict[str, str]:
        """What the column says of each participant."""
        rows = self.phenotypes.participants if self.group_by else []
        return {row.get("participant_id", ""): row.get(self.group_by, "") for row in rows}


def plan_group(request: Request) -> GroupPlan:
    """Read everything that decides what is run, and refuse what cannot work before anything is written."""
    settings, output_dir = request.settings, request.output_dir.absolute()
    raw = _raw_dataset(request)
    subjects = select_labels("sub", settings.participant_label, existing_participants(output_dir, raw))
    study = read_study(output_dir, raw, subjects, settings)
    if not study.scans:
        first = study.missing[0] if study.missing else None
        why = f" ({first.scan or f'sub-{first.participant}'}: {first.reason})" if first else ""
        raise NoInput(
            f"{request.output_dir} holds no finished scan{why}.", "Run the participant level first."
        )
    phenotypes = read_phenotypes(raw, subjects)
    group_by = _group_by(settings.group_by, phenotypes, raw)
    existing = read_template(settings)
    name = existing.name if existing else settings.template_name or DEFAULT_NAME
    check_label("tpl", name)
    custom = read_custom_segmentation(settings)
    if custom is not None and (settings.custom_space or not settings.template):
        on = custom_segmentation_on(custom, settings, study.scans, None, name)
        if on is None and not settings.template:
            raise WrongUsage(
                f"--custom-dseg {custom.file} is in the template, which --no-template leaves out.",
                "Leave out --no-template.",
            )
    design = check_model(settings, study.scans, phenotypes, raw)
    mixed = tuple(inconsistent_settings({scan.stem: scan.made for scan in study.scans}))
    return GroupPlan(raw, study, mixed, phenotypes, name, existing, custom, design, group_by)


def _group_by(asked: str | None, phenotypes: Phenotypes, raw: Path) -> str:
    """Return the column that pages group by: the one asked for, or `group` where there is one."""
    columns = list(dict.fromkeys(name for row in phenotypes.participants for name in row))
    if asked and asked not in columns:
        raise WrongUsage(
            f"--group-by {asked}: {raw / 'participants.tsv'} has no such column.",
            f"It has: {', '.join(columns) or 'none'}.",
        )
    return asked or (DEFAULT_GROUP if DEFAULT_GROUP in columns else "")


def _raw_dataset(request: Request) -> Path:
    """Return the raw dataset: BIDS_DIR, or what the participant level converted it to."""
    converted = request.settings.raw_dir or request.output_dir / "sourcedata" / "raw"
    for folder in (request.bids_dir, converted):
        if is_bids(folder):
            return folder.absolute()
    raise NoInput(
        f"{request.bids_dir} is not a BIDS dataset, and {converted} does not contain its conversion.",
        "Give the raw dataset of the participant level.",
    )


def show_plan(plan: GroupPlan, request: Request) -> None:
    """Say what a run would do."""
    console = PlainConsole()

    def line(text: str) -> None:
        console.print(text)

    line(f"Participants: {len(plan.study.participants)}")
    for label, scans in plan.study.participants.items():
        line(f"  sub-{label}: {', '.join(scan.stem for scan in scans)}")
    for one in plan.study.missing:
        line(f"  left out: {one.scan or f'sub-{one.participant}'}: {one.reason}")
    for difference in plan.inconsistent_settings:
        line(f"  {difference}")
    if plan.existing:
        line(f"They would be registered to the template {plan.name} of {request.settings.template_from}.")
    elif request.settings.template:
        rounds = request.settings.template_rounds
        line(f"A template tpl-{plan.name} would be built, in at most {rounds} deformable rounds.")
    if plan.design:
        what = "Regional values and voxels" if request.settings.model_voxelwise else "Regional values"
        line(f"{what} would be compared by {plan.design.formula.text}.")
    line(f"Results would go to {request.output_dir}, intermediate files to {request.work_dir}.")
