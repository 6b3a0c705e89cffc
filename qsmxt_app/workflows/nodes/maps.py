"""The step of every map beside susceptibility, by its declaration in `qsmxt_app.maps`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import convert
from nipype.interfaces.base import File, traits

from qsmxt_app.maps import MAPS
from qsmxt_app.maps.declaration import IMAGES, Scan
from qsmxt_app.workflows.code_version import code_version
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
)

_OUTPUTS = tuple(name for step in MAPS.values() for name in step.outputs)


class _MapInputs(StepInputSpec):
    name = traits.Str(mandatory=True, desc="of the step in the registry")
    scan = traits.Str(mandatory=True, desc="what is known of the scan, as JSON")


def _files(names: tuple[str, ...]) -> dict[str, Any]:
    # pickle finds the class by the name of its module
    return {"__module__": __name__} | {name: File(exists=True) for name in names}


MapInputSpec: Any = type("MapInputSpec", (_MapInputs,), _files((*IMAGES, *_OUTPUTS)))
MapOutputSpec: Any = type("MapOutputSpec", (StepOutputSpec,), _files(_OUTPUTS))


class ComputeMap(Step):
    """Compute the maps of one step of the registry from the images that it needs."""

    input_spec, output_spec = MapInputSpec, MapOutputSpec

    def __init__(self, **inputs: Any) -> None:
        if "name" in inputs:  # a map that is added to the registry leaves the others as they are
            own = code_version(MAPS[inputs["name"]].compute)
            inputs.setdefault("algorithm_version", code_version(ComputeMap, {"qsmxt_app.maps"}) + own)
        super().__init__(**inputs)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save its maps."""
        given = self.inputs
        step = MAPS[given.name]
        files = {name: getattr(given, name) for name in (*step.needs, *step.takes)}
        files = {name: file for name, file in files.items() if defined(file)}
        images = {
            name: load_mask(file) if name.endswith("mask") else load(file) for name, file in files.items()
        }
        scan = replace(convert(json.loads(given.scan), Scan), threads=given.num_threads)
        computed = step.compute(scan, **images)
        self.save_maps(computed.maps, load_affine(next(iter(files.values()))), folder)
        return dict(computed.facts)
