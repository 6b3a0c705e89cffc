"""The steps that find the regions of a scan: what each is given, and what goes between them.

Those of a T1w are run once, for all scans registered to it. Where there is no T1w, the magnitude takes its
place, and the same steps are among those of the scan.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype import Node

from qsmxt_app.bids.entities import parse_name
from qsmxt_app.maps import MAPS
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.segment.atlases import ATLASES
from qsmxt_app.segment.network_files import network_files
from qsmxt_app.settings import T1W_SPACE, TEMPLATE_SPACE, Settings
from qsmxt_app.workflows.node_base import Step
from qsmxt_app.workflows.plan import ScanPlan, StepPlan
from qsmxt_app.workflows.segmentation.atlas import LabelByAtlas, RegisterAtlas
from qsmxt_app.workflows.segmentation.outputs import WriteRegions, WriteT1w
from qsmxt_app.workflows.segmentation.plan import ATLAS, MESHNET, SegmentationPlan
from qsmxt_app.workflows.segmentation.reference import ReferToRegion
from qsmxt_app.workflows.segmentation.scan import AlignToT1w, LabelScan
from qsmxt_app.workflows.segmentation.spaces import WriteSpaces
from qsmxt_app.workflows.segmentation.t1w import LabelByNetwork, PrepareT1w, UseExistingLabels


def anatomy_nodes(scan: ScanPlan, *, bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Make the nodes that label a T1w, or the magnitude, with all inputs that do not come from others."""
    plan, settings = scan.segmentation, scan.settings
    prepare: dict[str, Any] = _atlas(settings.atlas)
    if plan.t1w:
        prepare["t1w"] = str(plan.t1w)
    makers: dict[str, Any] = {
        "prepare_t1w": lambda: PrepareT1w(**prepare),
        "register_atlas": lambda: RegisterAtlas(method=settings.registration),
        "label_t1w": lambda: _labeller(plan, settings),
        "write_t1w": lambda: WriteT1w(
            raw=str(plan.t1w),
            entities=_entities(plan.t1w),
            **_where(plan, bids_dir, output_dir),
        ),
    }
    return {step.name: step_node(makers[step.name](), step) for step in scan.anatomy}


def step_node(step: Step, plan: StepPlan) -> Any:
    """Make the node of a step."""
    node = Node(step, plan.name, n_procs=plan.cores, mem_gb=plan.memory_gb)
    node.inputs.num_threads = plan.threads
    return node


def region_makers(scan: ScanPlan, description: str, bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Return what makes each step that finds the regions of a scan."""
    plan, settings = scan.segmentation, scan.settings
    drawn = {"threshold": settings.roi_threshold, "erosion": settings.roi_erode}
    t1w = {"t1w_name": str(plan.t1w)} if plan.t1w else {}
    return {
        "align": AlignToT1w,
        "label": lambda: LabelScan(**drawn),
        "reference": lambda: ReferToRegion(reference=plan.reference),
        "regions": lambda: WriteRegions(
            acquisition=scan.acquisition,
            description=description,
            **t1w,
            **drawn,
            **_where(plan, bids_dir, output_dir),
        ),
        "spaces": lambda: WriteSpaces(
            acquisition=scan.acquisition,
            description=description,
            spaces=list(plan.spaces),
            **({"raw": str(plan.t1w)} if plan.t1w else {}),
            **_where(plan, bids_dir, output_dir),
        ),
    }


def connect_anatomy(workflow: Any, made: dict[str, Any], plan: SegmentationPlan) -> None:
    """Connect the steps that label a T1w."""
    prepare, label = made["prepare_t1w"], made["label_t1w"]
    images = [("t1w", "t1w"), ("t1w_mask", "t1w_mask")]
    transforms = [("atlas_to_anatomy", "atlas_to_anatomy"), ("anatomy_to_atlas", "anatomy_to_atlas")]
    # a list for every pair of nodes: nipype keeps it, and adds to it
    register, by_atlas = made.get("register_atlas"), plan.method == ATLAS
    workflow.connect([(prepare, label, [*images, ("atlas", "atlas")] if by_atlas else [*images])])
    if register:
        start = [*images, ("atlas", "atlas"), ("atlas_affine", "atlas_affine")]
        workflow.connect([(prepare, register, start)])
    if by_atlas:
        workflow.connect([(register, label, [*transforms])])
    if "write_t1w" in made:
        labels = [("labels", "labels"), ("regions", "regions")]
        workflow.connect([(prepare, made["write_t1w"], [*images]), (label, made["write_t1w"], labels)])
        if by_atlas:
            workflow.connect([(register, made["write_t1w"], [*transforms])])


def connect_regions(workflow: Any, made: dict[str, Any], end: Any, whole: str) -> None:
    """Connect the steps that find the regions of a scan with the others of that scan."""
    if "regions" not in made:
        return
    label, regions, combine = made["label"], made["regions"], made["combine"]
    if "reference" in made:
        _connect_reference(workflow, made, end, whole)
    workflow.connect(
        [
            (combine, label, [("chi", "chi")]),
            (made.get("reference", combine), regions, [("chi", "chi"), ("facts", "combine_facts")]),
            (end, label, [(whole, "mask")]),
            (end, regions, [(whole, "mask")]),
            (label, regions, [("dseg", "dseg"), ("facts", "label_facts")]),
        ]
    )
    spaces = made.get("spaces")
    for name in filter(made.__contains__, MAPS):
        for output in filter(MEASURED.__contains__, MAPS[name].outputs):
            for step in (regions, spaces) if spaces else (regions,):
                workflow.connect(made[name], output, step, output)
    if spaces:
        workflow.connect(
            [
                (made.get("reference", combine), spaces, [("chi", "chi")]),
                (end, spaces, [(whole, "mask")]),
                (label, spaces, [("dseg", "dseg")]),
            ]
        )
    if "align" in made:
        transforms = [("qsm_to_t1w", "qsm_to_t1w"), ("t1w_to_qsm", "t1w_to_qsm")]
        workflow.connect(
            [
                (made["prepare"], made["align"], [("magnitude", "magnitude")]),
                (made["masks"], made["align"], [("outline", "mask")]),
                (made["align"], label, transforms),
                (made["align"], regions, [*transforms, ("magnitude_in_t1w", "magnitude_in_t1w")]),
            ]
        )
        if spaces:
            workflow.connect([(made["align"], spaces, [*transforms])])


def _connect_reference(workflow: Any, made: dict[str, Any], end: Any, whole: str) -> None:
    """Connect the step that subtracts a region's mean from the map by which labels were placed."""
    reference, maps = made["reference"], ("chi", "chi_singlepass", "chi_echoes")
    workflow.connect(
        [
            (made["combine"], reference, [*((name, name) for name in maps), ("facts", "combine_facts")]),
            (made["label"], reference, [("dseg", "dseg")]),
            (end, reference, [(whole, "mask")]),
        ]
    )


def links(plan: SegmentationPlan) -> list[tuple[str, str]]:
    """Return what goes from the steps of the T1w to those of a scan: `step.output` and `step.input`."""
    found = [("label_t1w.labels", "label.labels"), ("label_t1w.regions", "regions.regions")]
    if plan.reference:
        found.append(("label_t1w.regions", "reference.regions"))
    if plan.t1w:
        found += [(f"prepare_t1w.{image}", f"align.{image}") for image in ("t1w", "t1w_mask")]
    transforms = ("atlas_to_anatomy", "anatomy_to_atlas")
    if plan.method == ATLAS:
        found.append(("prepare_t1w.atlas", "label.atlas"))
        targets = ("label",) if plan.t1w else ("label", "regions")
        found += [(f"register_atlas.{way}", f"{target}.{way}") for target in targets for way in transforms]
    if plan.spaces:
        found.append(("label_t1w.regions", "spaces.regions"))
    if T1W_SPACE in plan.spaces:
        found.append(("prepare_t1w.t1w", "spaces.t1w"))
    if TEMPLATE_SPACE in plan.spaces:
        found.append(("prepare_t1w.atlas", "spaces.atlas"))
        found += [(f"register_atlas.{way}", f"spaces.{way}") for way in transforms]
    return found


def _labeller(plan: SegmentationPlan, settings: Settings) -> Any:
    if plan.method == ATLAS:
        return LabelByAtlas()
    if plan.method == MESHNET:
        model = (settings.model or Path()).absolute()
        return LabelByNetwork(model=str(model), files=[str(file) for file in network_files(model)])
    if plan.labels is None:
        raise ValueError("a plan for existing labels without labels")
    table = {"table": str(plan.labels.table.absolute())} if plan.labels.table else {}
    return UseExistingLabels(existing=str(plan.labels.image.absolute()), **table)


def _atlas(name: str) -> dict[str, Any]:
    """Return an atlas, and its files where it is a folder: steps run in folders of their own."""
    folder = Path(name).absolute()
    if name in ATLASES or not folder.is_dir():
        return {"atlas": name, "atlas_files": []}
    return {
        "atlas": str(folder),
        "atlas_files": [str(path) for path in sorted(folder.iterdir()) if path.is_file()],
    }


def _entities(t1w: Path | None) -> dict[str, str]:
    name = parse_name(t1w.name) if t1w else None
    return {key: value for key, value in name.entities.items() if key != "part"} if name else {}


def _where(plan: SegmentationPlan, bids_dir: Path, output_dir: Path) -> dict[str, str]:
    return {
        "bids_dir": str(bids_dir),
        "output_dir": str(output_dir),
        "source": plan.source,
        "label": plan.label,
        "method": plan.reason,
    }
