"""Which maps are written, under which names and with which sidecars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits
from numpy.typing import NDArray

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import bids_uri, derivative_path, image_sidecar, save_image
from qsmxt_app.maps import MAPS
from qsmxt_app.maps.declaration import Output, worded
from qsmxt_app.maps.measured import CHI
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.workflows.node_base import (
    MEASURES,
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    read_json,
)

FIELD = "magnitude-weighted complex fit over echoes, after removal of phase offsets (MCPC-3D-S)"
FIELD_NOISE = "standard error of the fit"
OFFSET = "phase at an echo time of zero, smooth, averaged over blocks of voxels (MCPC-3D-S)"
TRUST = "coherence that the standard error leaves to the phase: 0 random, 1 certain"
R2 = "multi-echo spin-echo scan or map of it, registered rigidly to the magnitude"
ECHO_SPREAD = "standard deviation of susceptibility over echoes, with their weights in the mean"
# how chi is made, and by which steps
SOLVERS = {
    "tgv": ("TGV-QSM (Langkammer 2015)", ("tgv", "combine")),
    "inversion": (
        "background field removal, then dipole inversion",
        ("background", "inversion", "combine"),
    ),
}

OUTPUTS = {
    "mask": Output("mask", "qsm", steps=("masks",)),
    "mask_reliable": Output("mask", "reliable", steps=("masks",)),
    "mask_brain": Output("mask", "brain", steps=("masks",)),
    "chi": CHI,
    "chi_singlepass": Output("Chimap", "singlepass", units="ppm"),
    "chi_echoes": Output("Chimap", "echo", units="ppm", each_echo=True),
    "chi_echo_spread": Output("Chimap", "echospread", "anat", "ppm", ECHO_SPREAD, ("tgv", "combine")),
    "total_field": Output("fieldmap", "total", "fmap", "Hz", FIELD, ("field",)),
    "local_field": Output(
        "fieldmap", "local", "fmap", "Hz", "background field removal", ("field", "background")
    ),
    "field_noise": Output("fieldmap", "noise", "fmap", "Hz", FIELD_NOISE, ("field",)),
    "field_trust": Output("fieldmap", "trust", "fmap", "arbitrary", TRUST, ("field",)),
    "offset": Output("phase", "offset", "figures", "rad", OFFSET, ("field",)),
    "r2": Output("R2map", None, "anat", "1/s", R2, ("r2",)),
    "magnitude": Output("magnitude", None, "fmap", "arbitrary", "root sum of squares over echoes"),
} | {
    name: replace(output, steps=(*output.steps, step.name))
    for step in MAPS.values()
    for name, output in step.outputs.items()
}
"""Every derivative image, by its key in the record and its name among the inputs of `WriteDerivatives`."""

# Settings that each step depends on, for the sidecars
PARAMETERS = {
    "masks": (
        "mask",
        "mask_threshold",
        "mask_threshold_value",
        "mask_closing",
        "mask_components",
        "mask_erosion",
        "brain_mask",
    ),
    "field": ("unwrapping", "bipolar"),
    "background": ("background",),
    "tgv": ("tgv_alpha", "tgv_iterations", "tgv_tolerance", "two_pass", "echo_combination"),
    "inversion": ("inversion", "two_pass"),
    "combine": ("reference", "object_size"),
    "r2": (),
} | {step.name: step.settings for step in MAPS.values()}
NOT_IN_SIDECARS = {*MEASURES, "warnings", "history", "origin"}


class _DerivativesInputs(StepInputSpec):
    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="whose maps they are")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    output_dir = traits.Str(mandatory=True)
    bids_dir = traits.Str(mandatory=True)
    parameters = traits.Str(mandatory=True, desc="settings of the steps, as JSON")
    existing = traits.Str(desc="BIDS URI of a map that was taken instead of a reconstruction")
    program = traits.Str(desc="what made it")


# a file for every image, and one for the facts of every step that a sidecar tells
DerivativesInputSpec: Any = type(
    "DerivativesInputSpec",
    (_DerivativesInputs,),
    # pickle finds the class by the name of its module
    {"__module__": __name__}
    | {name: File(exists=True) for name in (*OUTPUTS, *(f"{step}_facts" for step in PARAMETERS))},
)


class WriteDerivatives(Step):
    """Write all maps of an acquisition with their sidecars."""

    input_spec, output_spec = DerivativesInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the maps; the facts name them relative to the output folder."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        written = {}
        for name, output in OUTPUTS.items():
            file = defined(getattr(given, name))
            if file is None:
                continue
            affine, sidecar = load_affine(file), self._sidecar(output)
            for key, one, voxels, told in _images(name, output, _voxels(name, file), given.acquisition):
                path = output_path(output_dir, given.acquisition, one)
                save_image(voxels, affine, path, sidecar | told, oriented=given.acquisition.oriented)
                written[key] = path.relative_to(output_dir).as_posix()
        return {"outputs": written}

    def _sidecar(self, output: Output) -> dict[str, Any]:
        given = self.inputs
        settings = json.loads(given.parameters)
        parameters: dict[str, Any] = {}
        algorithm, steps = worded(output.algorithm, settings), output.steps
        existing = defined(given.existing)
        if output.suffix == "Chimap" and not steps:
            algorithm, steps = SOLVERS["inversion" if defined(given.inversion_facts) else "tgv"]
            algorithm = f"existing map of {given.program}" if existing else algorithm
        if existing and output in (OUTPUTS["chi"], OUTPUTS["mask"]):
            steps = ("combine",)
        for step in steps:
            noted = read_json(Path(getattr(given, f"{step}_facts")))
            chosen = {key: settings[key] for key in PARAMETERS[step] if key in settings}
            results = {key: value for key, value in noted.items() if key not in NOT_IN_SIDECARS}
            parameters |= camel_case(chosen) | camel_case(results)
        raw = [bids_uri(file, Path(given.bids_dir)) for file in given.acquisition.files]
        return image_sidecar(
            [*raw, existing] if existing else raw,
            units=output.units,
            skull_stripped=False if output.units else None,
            algorithm=algorithm or None,
            parameters=parameters,
        )


def _voxels(name: str, file: str) -> NDArray:
    if name.startswith("mask"):
        return load_mask(file)
    return combine_magnitude(load(file)) if name == "magnitude" else load(file)


def _images(
    name: str, output: Output, voxels: NDArray, acquisition: Acquisition
) -> Iterator[tuple[str, Output, NDArray, dict[str, Any]]]:
    """Yield the images of an output: key in the record, declaration, voxels, and more for the sidecar."""
    if not output.each_echo:
        yield name, output, voxels, {}
        return
    for index, number in enumerate(acquisition.echo_numbers):
        one = replace(output, desc=f"{output.desc}{number}")
        told = {"EchoNumber": number, "EchoTime": acquisition.echo_times[index]}
        yield f"{name}_{number}", one, voxels[..., index], told


def output_path(output_dir: Path, acquisition: Acquisition, output: Output) -> Path:
    """Return where a derivative of an acquisition goes."""
    return derivative_path(
        output_dir, acquisition.output_entities, output.suffix, desc=output.desc, datatype=output.datatype
    )


def maps_on_disk(output_dir: Path, acquisition: Acquisition) -> tuple[str, ...]:
    """Return all maps of an acquisition that are there, whichever run wrote them, relative to the folder."""
    paths = [output_path(output_dir, acquisition, one) for one in OUTPUTS.values() if not one.each_echo]
    for output in (one for one in OUTPUTS.values() if one.each_echo):
        # of echoes too that no longer take part
        first = output_path(output_dir, acquisition, replace(output, desc=f"{output.desc}1"))
        paths += sorted(first.parent.glob(first.name.replace(f"{output.desc}1_", f"{output.desc}[0-9]*_")))
    return tuple(path.relative_to(output_dir).as_posix() for path in paths if path.is_file())


def method_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that sidecars tell; no others may cause a map to be written again."""
    names = [name for step in PARAMETERS.values() for name in step]
    return {name: settings[name] for name in names if name in settings}


def camel_case(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell keys as BIDS sidecars do.

    Examples
    --------
    >>> camel_case({"tgv_alpha": 1, "reference_value_ppm": 0.1})
    {'TGVAlpha': 1, 'ReferenceValuePpm': 0.1}
    """
    words = {"tgv": "TGV", "ml": "Ml"}
    return {
        "".join(words.get(word, word[:1].upper() + word[1:]) for word in key.split("_")): value
        for key, value in values.items()
    }
