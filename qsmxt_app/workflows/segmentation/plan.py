"""How the regions of a scan are segmented, from file names and sidecars."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.headers import read_header
from qsmxt_app.errors import NoInput, QsmxtError
from qsmxt_app.segment.existing_labels import ExistingLabels, find_labels
from qsmxt_app.segment.network_files import check_network
from qsmxt_app.settings import T1W_SPACE, TEMPLATE_SPACE, Settings
from qsmxt_app.workflows.preset_choice import body_part

NONE, ATLAS, MESHNET, DERIVATIVES = "none", "atlas", "meshnet", "derivatives"
ANATOMY_STEPS = ("prepare_t1w", "register_atlas", "label_t1w", "write_t1w")
REGION_STEPS = ("align", "label", "reference", "regions", "spaces")
USUAL_VOXELS = 256 * 256 * 176
"""Of a T1w whose header cannot be read; the step that reads it says why."""
NETWORK_VOXELS = 12_000_000
"""Of an image that takes as much memory as a network does in the box around any brain."""


TEMPLATE_VOXELS = 6_000_000
"""Of the brain in a template of 1 mm."""


@dataclass(frozen=True)
class SegmentationPlan:
    """How the regions of a scan are found.

    Attributes
    ----------
    method
        `none`, `atlas`, `meshnet` or `derivatives`.
    reason
        One line: why so, for the log and the report.
    source
        Where the labels come from, as tables and file names tell it.
    t1w
        The image that is labelled; None: the magnitude.
    labels
        Those of another program.
    problem
        Why no regions can be found although they are asked for.
    reference
        Name or number of the region that chi is relative to; empty where it is relative to anything else.
    no_reference
        Why chi is relative to its mean although a region is asked for.
    spaces
        In which maps and labels are written too: `T1w`, `template`.
    no_spaces
        Why they are not written in others that are asked for, a sentence each.
    """

    method: str
    reason: str
    source: str = ""
    t1w: Path | None = None
    labels: ExistingLabels | None = None
    problem: str = ""
    reference: str = ""
    no_reference: str = ""
    spaces: tuple[str, ...] = ()
    no_spaces: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether there are steps to run."""
        return self.method != NONE and not self.problem

    @property
    def registers_atlas(self) -> bool:
        """Whether the atlas is registered: for its labels, or for the space of its template."""
        return self.method == ATLAS or TEMPLATE_SPACE in self.spaces

    @property
    def label(self) -> str:
        """The source as BIDS allows it in a file name."""
        return re.sub(r"[^0-9A-Za-z+]", "", self.source)

    @property
    def anatomy_steps(self) -> tuple[str, ...]:
        """The steps that label the T1w of a scan, or the magnitude in its place, in their order."""
        left_out = set() if self.registers_atlas else {"register_atlas"}
        left_out |= set() if self.t1w else {"write_t1w"}
        return tuple(step for step in ANATOMY_STEPS if self.runs and step not in left_out)

    @property
    def region_steps(self) -> tuple[str, ...]:
        """The steps that bring labels to a scan and read values there, in their order."""
        left_out = set() if self.t1w else {"align"}
        left_out |= set() if self.reference else {"reference"}
        left_out |= set() if self.spaces else {"spaces"}
        return tuple(step for step in REGION_STEPS if self.runs and step not in left_out)

    @property
    def lines(self) -> list[str]:
        """How the regions of a scan will be found, for people."""
        if self.problem:
            return [f"cannot be found: {self.problem}"]
        if not self.runs:
            return [f"none: {self.reason}", *self.no_spaces]
        return [self.reason, *self.no_spaces, " -> ".join((*self.anatomy_steps, *self.region_steps))]

    def step_sizes(self, acquisition: Acquisition) -> dict[str, int]:
        """Return the number of voxels that each step reads."""
        scan = prod(acquisition.shape)
        anatomy = _voxels(self.t1w) if self.t1w else scan
        labelled = max(anatomy, NETWORK_VOXELS) if self.method == MESHNET else anatomy
        sizes = {step: labelled if step == "label_t1w" else anatomy for step in self.anatomy_steps}
        sizes |= dict.fromkeys(self.region_steps, anatomy + scan)
        return sizes | ({"spaces": anatomy + scan + TEMPLATE_VOXELS} if self.spaces else {})


def plan_segmentation(acquisition: Acquisition, settings: Settings) -> SegmentationPlan:
    """Decide how the regions of a scan are found, which of them chi is relative to, and in which spaces."""
    plan = _with_spaces(_planned(acquisition, settings), settings.output_spaces)
    if not settings.reference_region:
        return plan
    if plan.runs:
        return replace(plan, reference=settings.reference_region)
    return replace(plan, no_reference=plan.problem or plan.reason)


def _planned(acquisition: Acquisition, settings: Settings) -> SegmentationPlan:
    if settings.segmentation == NONE:
        return SegmentationPlan(NONE, "--segmentation none")
    part = body_part(acquisition.metadata)
    if part is not None:
        return SegmentationPlan(NONE, f"{part} is not a head")
    t1w = acquisition.t1w
    if settings.derivatives:
        return _existing(acquisition, settings, t1w)
    if settings.segmentation == MESHNET:
        return _network(settings.model or Path(), t1w)
    folder = Path(settings.atlas)
    name = folder.resolve().name if folder.is_dir() else settings.atlas
    where = t1w.name if t1w else "the magnitude, as there is no T1w"
    return SegmentationPlan(ATLAS, f"atlas {name}, registered to {where}", name, t1w)


def _with_spaces(plan: SegmentationPlan, wanted: tuple[str, ...]) -> SegmentationPlan:
    """Plan the spaces of maps and labels, as far as there is a way to them."""
    missing = {}
    for space in dict.fromkeys(wanted):
        if space in (T1W_SPACE, TEMPLATE_SPACE) and not plan.runs:
            missing[space] = plan.problem or f"nothing is registered ({plan.reason})."
        elif space == T1W_SPACE and not plan.t1w:
            missing[space] = "there is no T1w image."
    spaces = (space for space in (T1W_SPACE, TEMPLATE_SPACE) if space in wanted and space not in missing)
    reasons = (f"No maps in {space} space (--output-spaces): {why}" for space, why in missing.items())
    return replace(plan, spaces=tuple(spaces), no_spaces=tuple(reasons))


def _network(path: Path, t1w: Path | None) -> SegmentationPlan:
    problem = "" if t1w else f"--segmentation {MESHNET} needs a T1w. Use {ATLAS}, which does without."
    try:
        check_network(path)
    except NoInput as error:
        problem = str(error)
    return SegmentationPlan(MESHNET, f"network {path.name}", path.name, t1w, problem=problem)


def _existing(acquisition: Acquisition, settings: Settings, t1w: Path | None) -> SegmentationPlan:
    try:
        labels = find_labels(settings.derivatives, acquisition.subject, acquisition.session)
    except NoInput as error:
        return SegmentationPlan(DERIVATIVES, "labels of another program", problem=str(error))
    problem = (
        "" if t1w else f"{labels.image}: registering it to the scan needs a T1w image, and there is none."
    )
    below = next(folder for folder in settings.derivatives if labels.image.is_relative_to(folder))
    description = f"labels {labels.image.relative_to(below)}, in the world of {t1w.name if t1w else 'no T1w'}"
    return SegmentationPlan(DERIVATIVES, description, labels.name, t1w, labels, problem)


@cache
def _voxels(image: Path) -> int:
    try:
        return prod(read_header(image).shape[:3])
    except QsmxtError:
        return USUAL_VOXELS
