"""The graph of one participant: the same few nodes for each of its acquisitions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype import Node, Workflow

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.config import MASK_METHODS, REFERENCES, Settings
from qsmxt_app.workflows import nodes
from qsmxt_app.workflows.node_base import FACTS_FILE, FAILURE_FILE, Step, read_json
from qsmxt_app.workflows.outputs import WriteDerivatives, method_parameters
from qsmxt_app.workflows.resources import NEEDS, REPORT_GB, WORKER_GB, memory_gb

STEPS = (
    "prepare",
    "masks",
    "field",
    "relaxation",
    "tgv",
    "tgv_reliable",
    "combine",
    "derivatives",
)
MAPS = {
    "field": ("total_field", "field_noise", "filled", "reliable"),
    "relaxation": ("r2star", "t2star", "s0"),
    "combine": ("chi", "chi_singlepass"),
    "prepare": ("magnitude",),
}
STEPS_IN_SIDECARS = ("masks", "field", "relaxation", "tgv", "combine")


@dataclass(frozen=True)
class Scan:
    """An acquisition, and where its steps work.

    Attributes
    ----------
    acquisition
        What is processed.
    name
        Full name of its workflow in nipype: that of a node is followed by a dot and the step.
    folder
        Where its nodes work, one folder a step.
    steps
        Names of its steps, in their order.
    """

    acquisition: Acquisition
    name: str
    folder: Path
    steps: tuple[str, ...]

    def facts(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it finished; empty before."""
        return read_json(self.folder / step / FACTS_FILE)

    def failure(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it failed; empty if it did not, or was killed."""
        return read_json(self.folder / step / FAILURE_FILE)


@dataclass(frozen=True)
class ParticipantGraph:
    """What nipype runs for one participant.

    Attributes
    ----------
    subject
        Label without `sub-`.
    workflow
        nipype's graph.
    scans
        The acquisitions and their nodes.
    """

    subject: str
    workflow: Any
    scans: tuple[Scan, ...]


def build_participant(
    subject: str,
    acquisitions: list[Acquisition],
    settings: Settings,
    *,
    bids_dir: Path,
    output_dir: Path,
    work_dir: Path,
    threads: int,
) -> ParticipantGraph:
    """Build the graph of one participant.

    Parameters
    ----------
    subject
        Label without `sub-`.
    acquisitions
        All of them are of this participant.
    settings
        Of the run.
    bids_dir, output_dir, work_dir
        The raw dataset, and where derivatives and intermediate files go.
    threads
        Cores for one step.
    """
    workflow = Workflow(f"sub_{_node_name(subject)}", base_dir=str(work_dir))
    scans = []
    for acquisition in acquisitions:
        name = _node_name(f"{acquisition.stem}_{acquisition.suffix}")
        scan_workflow = Workflow(name)
        made = _scan_nodes(acquisition, settings, bids_dir, output_dir, threads)
        _connect(scan_workflow, made)
        workflow.add_nodes([scan_workflow])
        scan = Scan(acquisition, f"{workflow.name}.{name}", work_dir / workflow.name / name, tuple(made))
        made["derivatives"].overwrite = not _outputs_exist(scan, output_dir) or None
        scans.append(scan)
    return ParticipantGraph(subject, workflow, tuple(scans))


def build_report(subject: str, output_dir: Path, work_dir: Path) -> Any:
    """Build the graph that writes the report of one participant from what is on disk."""
    workflow = Workflow(f"sub_{_node_name(subject)}", base_dir=str(work_dir))
    step = nodes.WriteReport(subject=subject, output_dir=str(output_dir))
    workflow.add_nodes([Node(step, "report", overwrite=True, mem_gb=WORKER_GB + REPORT_GB)])
    return workflow


def _outputs_exist(scan: Scan, output_dir: Path) -> bool:
    """Whether all images that an earlier run wrote are still there; nipype's cache does not look at them."""
    written = scan.facts("derivatives").get("outputs", {}).values()
    return all(
        (output_dir / path).is_file() and sidecar_path(output_dir / path).is_file() for path in written
    )


def _scan_nodes(
    acquisition: Acquisition, settings: Settings, bids_dir: Path, output_dir: Path, threads: int
) -> dict[str, Any]:
    """Make the nodes of one acquisition, with all inputs that do not come from other nodes."""
    times, size = list(acquisition.echo_times), acquisition.voxel_size
    steps: dict[str, Step] = {
        "prepare": nodes.Prepare(
            acquisition=acquisition,
            description=_description(acquisition),
            files=[str(file) for file in acquisition.files],
        ),
        "masks": nodes.BuildMasks(echo_times=times, voxel_size=size, **_mask_inputs(settings)),
        "field": nodes.FitField(
            echo_times=times,
            voxel_size=size,
            field_strength=acquisition.field_strength,
            bipolar=is_bipolar(acquisition, settings),
            unwrapping=settings.unwrapping,
        ),
        "relaxation": nodes.FitRelaxation(echo_times=times),
        "tgv": _inversion(acquisition, settings),
        "tgv_reliable": _inversion(acquisition, settings),
        "combine": nodes.CombineAndReference(**_reference_inputs(settings)),
        "derivatives": WriteDerivatives(
            acquisition=acquisition,
            description=_description(acquisition),
            bids_dir=str(bids_dir),
            output_dir=str(output_dir),
            parameters=json.dumps(method_parameters(settings.as_dict())),
        ),
    }
    return {
        name: _node(name, steps[name], acquisition, threads) for name in step_names(acquisition, settings)
    }


def step_names(acquisition: Acquisition, settings: Settings) -> tuple[str, ...]:
    """Return the steps of an acquisition in their order."""
    left_out = set()
    if len(acquisition.echoes) < 2:
        left_out.add("relaxation")
    if not settings.two_pass:
        left_out.add("tgv_reliable")
    return tuple(name for name in STEPS if name not in left_out)


def _node(name: str, step: Step, acquisition: Acquisition, threads: int) -> Any:
    need = NEEDS[need_of(name)]
    x, y, z = acquisition.shape
    return Node(
        step,
        name,
        n_procs=threads if need.threaded else 1,
        mem_gb=memory_gb(need_of(name), x * y * z, len(acquisition.echoes)),
    )


def need_of(step: str) -> str:
    """Return the row of `NEEDS` for a step: both inversions need the same."""
    return step.removesuffix("_reliable")


def _connect(workflow: Any, made: dict[str, Any]) -> None:
    """Connect the nodes of one acquisition."""
    prepare, masks, field, combine, derivatives = (
        made[name] for name in ("prepare", "masks", "field", "combine", "derivatives")
    )
    images = [("magnitude", "magnitude"), ("phase", "phase")]
    both_masks = [("filled", "filled"), ("reliable", "reliable")]
    workflow.connect(
        [
            (prepare, masks, images),
            (prepare, field, images),
            (masks, field, both_masks),
            (field, combine, both_masks),
        ]
    )
    for name, mask, chi in (("tgv", "filled", "chi_filled"), ("tgv_reliable", "reliable", "chi_reliable")):
        if name in made:
            inputs = [("laplacian", "laplacian"), ("noise", "noise"), (mask, "mask")]
            workflow.connect([(field, made[name], inputs), (made[name], combine, [("chi", chi)])])
    if "relaxation" in made:
        workflow.connect(
            [
                (prepare, made["relaxation"], images[:1]),
                (masks, made["relaxation"], [("filled", "mask")]),
            ]
        )
    for name, maps in MAPS.items():
        if name in made:
            given = [(field, field) for field in maps if field != "chi_singlepass" or "tgv_reliable" in made]
            workflow.connect([(made[name], derivatives, given)])
    for name in STEPS_IN_SIDECARS:
        if name in made:
            workflow.connect([(made[name], derivatives, [("facts", f"{name}_facts")])])


def is_bipolar(acquisition: Acquisition, settings: Settings) -> bool:
    """Return whether the readout alternates: as the user says, else as the sidecar says, else no."""
    return bool(acquisition.bipolar) if settings.bipolar == "auto" else settings.bipolar == "yes"


def _mask_inputs(settings: Settings) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "method": settings.mask,
        "threshold": settings.mask_threshold,
        "closing_mm": settings.mask_closing,
        "erosion_voxels": settings.mask_erosion,
        "components": settings.mask_components,
        "separation_mm": settings.mask_separation,
    }
    if settings.mask_threshold_value is not None:
        inputs["threshold_value"] = settings.mask_threshold_value
    if settings.mask not in MASK_METHODS:
        inputs |= {"method": "combined", "mask_file": str(Path(settings.mask).absolute())}
    return inputs


def _reference_inputs(settings: Settings) -> dict[str, Any]:
    if settings.reference in REFERENCES:
        return {"reference": settings.reference}
    return {"reference": "region", "reference_file": str(Path(settings.reference).absolute())}


def _inversion(acquisition: Acquisition, settings: Settings) -> Step:
    return nodes.InvertTGV(
        voxel_size=acquisition.voxel_size,
        b0_direction=acquisition.b0_direction,
        alpha=settings.tgv_alpha,
        max_iterations=settings.tgv_iterations,
        tolerance=settings.tgv_tolerance,
    )


def _description(acquisition: Acquisition) -> str:
    """Return everything of an acquisition that a result depends on, beside the content of its files."""
    return json.dumps(
        {
            "stem": acquisition.stem,
            "suffix": acquisition.suffix,
            "echoes": [
                [echo.magnitude.name, echo.phase.name, echo.echo_time, echo.volume]
                for echo in acquisition.echoes
            ],
            "affine": acquisition.affine.tolist(),
            "shape": acquisition.shape,
            "field_strength": acquisition.field_strength,
            "phase_units": acquisition.phase_units,
            "complex_parts": acquisition.complex_parts,
            "bipolar": acquisition.bipolar,
        }
    )


def _node_name(text: str) -> str:
    return re.sub(r"\W", "_", text.replace("+", "_plus_"))
