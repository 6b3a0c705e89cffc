"""The steps of one scan: what each is given, and what goes from one to another."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import CHIMAP_LINK, bids_uri
from qsmxt_app.maps import MAPS
from qsmxt_app.maps.declaration import MapStep
from qsmxt_app.settings import MASK_METHODS, REFERENCES, Settings
from qsmxt_app.workflows import nodes
from qsmxt_app.workflows.nodes.existing import AS_GIVEN
from qsmxt_app.workflows.outputs import OUTPUTS, PARAMETERS, WriteDerivatives, method_parameters
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.segmentation.steps import connect_regions, region_makers, step_node

_REFERENCED = ("chi", "chi_singlepass", "chi_echoes")
"""Maps that are relative to the reference."""


def scan_nodes(scan: ScanPlan, *, bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Make the nodes of one scan, with all inputs that do not come from other nodes."""
    acquisition, settings = scan.acquisition, scan.settings
    times = list(acquisition.echo_times)
    geometry = {"voxel_size": scan.voxel_size, "b0_direction": acquisition.b0_direction}
    field_step = {**geometry, "field_strength": acquisition.field_strength}
    makers: dict[str, Any] = {
        "prepare": lambda: nodes.LoadAcquisition(
            acquisition=acquisition,
            description=_description(acquisition),
            files=[str(file) for file in acquisition.files],
            voxel_size=scan.voxel_size,
        ),
        "masks": lambda: nodes.BuildMasks(
            echo_times=times, find_brain=scan.finds_brain, **geometry, **_mask_inputs(settings)
        ),
        "field": lambda: nodes.FitField(
            echo_times=times,
            **field_step,
            bipolar="yes" if scan.bipolar else settings.bipolar,
            unwrapping=settings.unwrapping,
            combination=settings.echo_combination,
        ),
        "background": lambda: nodes.RemoveBackground(method=settings.background, **field_step),
        "tgv": lambda: nodes.InvertTGV(
            alpha=settings.tgv_alpha,
            max_iterations=settings.tgv_iterations,
            tolerance=settings.tgv_tolerance,
            **geometry,
        ),
        "inversion": lambda: nodes.InvertField(method=settings.inversion, echo_times=times, **field_step),
        "combine": lambda: _combine(scan),
        "derivatives": lambda: WriteDerivatives(
            acquisition=acquisition,
            description=_description(acquisition),
            bids_dir=str(bids_dir),
            output_dir=str(output_dir),
            parameters=json.dumps(method_parameters(settings.as_dict())),
            **_origin(scan),
        ),
    }
    for name, step in MAPS.items():
        known = {"echo_times": times, **field_step, "settings": _chosen(step, settings)}
        makers[name] = partial(nodes.ComputeMap, name=name, scan=json.dumps(known))
    if acquisition.r2:
        files = [str(file) for file in acquisition.r2.files]
        described = json.dumps(to_builtins(acquisition.r2, enc_hook=str))
        makers["r2"] = partial(nodes.LoadR2, images=described, files=files)
    makers |= region_makers(scan, _description(acquisition), bids_dir, output_dir)
    return {
        step.name: step_node(makers[step.name.removesuffix("_reliable")](), step)
        for step in (*scan.maps, *scan.regions)
    }


def connect_scan(workflow: Any, made: dict[str, Any]) -> None:
    """Connect the nodes of one acquisition."""
    workflow.connect([(made["prepare"], made["masks"], [("magnitude", "magnitude"), ("phase", "phase")])])
    if "field" in made:
        end, whole = _connect_reconstruction(workflow, made)
    else:
        end, whole = made["combine"], "mask"
        workflow.connect(made["prepare"], "magnitude", end, "magnitude")
    if "r2" in made:
        workflow.connect([(made["prepare"], made["r2"], [("magnitude", "magnitude")])])
        workflow.connect([(made["masks"], made["r2"], [("filled", "mask")])])
    sources = _image_sources(made)
    for name in filter(made.__contains__, MAPS):
        for image in (*MAPS[name].needs, *filter(sources.__contains__, MAPS[name].takes)):
            source, trait = sources[image]
            workflow.connect(made[source], trait, made[name], image)
    _connect_outputs(workflow, made, sources)
    connect_regions(workflow, made, end, whole)


def _connect_reconstruction(workflow: Any, made: dict[str, Any]) -> tuple[Any, str]:
    """Connect the steps from the phase to chi; return the step and its mask where the map ends."""
    prepare, masks, field, combine = (made[name] for name in ("prepare", "masks", "field", "combine"))
    # some methods of background removal take a layer off
    end, whole = (made["background"], "mask") if "inversion" in made else (field, "filled")
    workflow.connect(
        [
            (prepare, field, [("magnitude", "magnitude"), ("phase", "phase")]),
            (masks, field, [(mask, mask) for mask in ("filled", "reliable", "outline")]),
            (end, combine, [(whole, "filled")]),
            (masks, combine, [("brain", "brain")]),
        ]
    )
    if "inversion" in made:
        _connect_two_steps(workflow, made)
    else:
        _connect_tgv(workflow, made)
    if "background" in made:
        _connect_background(workflow, field, made["background"], "filled")
    return end, whole


def planned_outputs(scan: ScanPlan) -> tuple[str, ...]:
    """Return the derivative images that a scan will have, by their keys in the record."""
    steps = {step.name for step in scan.maps}
    sources = _image_sources(steps)
    if not any(step.endswith("_reliable") for step in steps):
        sources.pop("chi_singlepass")
    if not scan.finds_brain:
        sources.pop("mask_brain")
    if scan.existing or scan.settings.echo_combination != "maps":
        for name in ("chi_echoes", "chi_echo_spread"):
            sources.pop(name)
    return tuple(filter(sources.__contains__, OUTPUTS))


def planned_reference(scan: ScanPlan) -> str:
    """Return what chi is to be relative to, as the record names it."""
    given = "" if scan.existing is None or "reference" in scan.settings.chosen else AS_GIVEN
    return scan.segmentation.reference or given or str(_reference_inputs(scan)["reference"])


def _connect_tgv(workflow: Any, made: dict[str, Any]) -> None:
    """Connect the one or two passes of TGV-QSM."""
    field, combine = made["field"], made["combine"]
    inputs = [("laplacian", "laplacian"), ("noise", "noise")]
    # signal alone does not tell where bone and air end, which only the mask of a brain lacks
    tissue = [("tissue", "tissue")]
    brain = made["masks"].inputs.find_brain
    workflow.connect([(field, made["tgv"], [*inputs, *(tissue if brain else []), ("filled", "mask")])])
    workflow.connect([(made["tgv"], combine, [("chi", "chi_filled")])])
    workflow.connect([(field, combine, [("noise", "echo_noise")])])
    if "tgv_reliable" in made:
        inputs += [*tissue, ("reliable", "mask"), ("filled", "whole")]
        workflow.connect([(field, made["tgv_reliable"], inputs)])
        workflow.connect([(made["tgv"], made["tgv_reliable"], [("chi", "first")])])
        workflow.connect([(made["tgv_reliable"], combine, [("chi", "chi_reliable"), ("mask", "reliable")])])


def _connect_two_steps(workflow: Any, made: dict[str, Any]) -> None:
    """Connect background removal and inversion of one or two passes."""
    field, combine = made["field"], made["combine"]
    for suffix, target in (("", "chi_filled"), ("_reliable", "chi_reliable")):
        if f"inversion{suffix}" not in made:
            continue
        background, inversion = made[f"background{suffix}"], made[f"inversion{suffix}"]
        inputs = [(trait, trait) for trait in ("local_field", "mask", "measured")]
        workflow.connect([(background, inversion, inputs), (inversion, combine, [("chi", target)])])
        workflow.connect([(field, inversion, [("field_noise", "field_noise")])])
        if suffix:
            _connect_background(workflow, field, background, "reliable")
            workflow.connect([(made["background"], background, [("mask", "whole")])])
            workflow.connect([(made["inversion"], background, [("chi", "first")])])
            workflow.connect([(background, combine, [("mask", "reliable")])])


def _connect_background(workflow: Any, field: Any, background: Any, mask: str) -> None:
    inputs = [("total_field", "total_field"), ("field_noise", "field_noise"), (mask, "mask")]
    workflow.connect([(field, background, inputs)])


def _image_sources(made: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return which step has each image, and under which name: those of `IMAGES`, and every output."""
    core = {
        "prepare": {"magnitude": "magnitude", "phase": "phase"},
        "masks": {"object_mask": "filled", "mask_brain": "brain"},
        "field": {
            "mask": "filled",
            "field_mask": "filled",
            "mask_reliable": "reliable",
            "laplacian_noise": "noise",
            "tissue_mask": "tissue",
            **{name: name for name in ("total_field", "field_noise", "field_trust", "offset")},
            **{name: name for name in ("laplacian", "random_noise")},
        },
        # some methods of background removal make the mask smaller
        "background": {"local_field": "local_field"} | ({"mask": "mask"} if "inversion" in made else {}),
        "r2": {"r2": "r2"},
        "combine": {name: name for name in (*_REFERENCED, "chi_echo_spread")},
        "reference": {name: name for name in _REFERENCED},
    }
    if "field" not in made:  # a map of another program has a mask of its own, and no others
        core["combine"] = {"chi": "chi", "mask": "mask"}
    maps = {name: {output: output for output in step.outputs} for name, step in MAPS.items()}
    return {
        image: (step, trait)
        for step, images in (core | maps).items()
        if step in made
        for image, trait in images.items()
    }


def _connect_outputs(workflow: Any, made: dict[str, Any], sources: dict[str, tuple[str, str]]) -> None:
    derivatives = made["derivatives"]
    for image in filter(sources.__contains__, OUTPUTS):
        source, trait = sources[image]
        workflow.connect(made[source], trait, derivatives, image)
    for name in filter(made.__contains__, PARAMETERS):
        source = "reference" if name == "combine" and "reference" in made else name
        workflow.connect(made[source], "facts", derivatives, f"{name}_facts")


def _origin(scan: ScanPlan) -> dict[str, str]:
    """Return what sidecars tell of a map of another program."""
    if scan.existing is None or scan.settings.chimap_derivatives is None:
        return {}
    uri = bids_uri(scan.existing.path, scan.settings.chimap_derivatives, CHIMAP_LINK)
    return {"existing": uri, "program": scan.existing.program}


def _combine(scan: ScanPlan) -> Any:
    """Make the step that has the final map: of the inversions, or of another program."""
    if scan.existing is None:
        return nodes.CombineAndReference(average=scan.settings.echo_average, **_reference_inputs(scan))
    return nodes.LoadExistingMap(
        chimap=str(scan.existing.path),
        units=scan.existing.units,
        program=scan.existing.program,
        subtract_mean="reference" in scan.settings.chosen and scan.settings.reference == "mean",
    )


def _chosen(step: MapStep, settings: Settings) -> dict[str, Any]:
    """Return the settings that a map depends on."""
    return {name: value for name, value in settings.as_dict().items() if name in step.settings}


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


def _reference_inputs(scan: ScanPlan) -> dict[str, Any]:
    reference = scan.settings.reference
    # without a region, of which a later step takes the mean, the map is relative to its own
    if scan.settings.reference_region or reference == "mean":
        return {"reference": "brain" if scan.finds_brain else "mean"}
    if reference in REFERENCES:
        return {"reference": reference}
    return {"reference": "region", "reference_file": str(Path(reference).absolute())}


def _description(acquisition: Acquisition) -> str:
    """Return everything of an acquisition that a result depends on, beside the content of its files."""
    return json.dumps(
        {
            "stem": acquisition.stem,
            "suffix": acquisition.suffix,
            "echoes": [
                [echo.magnitude.name, echo.phase.name, echo.echo_time, echo.index]
                for echo in acquisition.echoes
            ],
            "affine": acquisition.affine.tolist(),
            "shape": acquisition.shape,
            "field_strength": acquisition.field_strength,
            "phase_units": acquisition.phase_units,
            "complex_parts": acquisition.complex_parts,
            "bipolar": acquisition.bipolar,
            "oriented": acquisition.oriented,
            "coils": len(acquisition.coils),
        }
    )
