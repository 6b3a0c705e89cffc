"""Which maps are written, under which names and with which sidecars."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits
from numpy.typing import NDArray

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import bids_uri, derivative_path, image_sidecar, save_image
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    read_json,
)


@dataclass(frozen=True)
class Output:
    """One kind of derivative image.

    Attributes
    ----------
    source
        Trait of `WriteDerivatives` that holds the file.
    suffix, desc, datatype
        Of the BIDS name.
    units
        None for masks.
    algorithm, steps
        How it was made, and the steps whose parameters and results its sidecar tells; those of a
        susceptibility map follow from the inversion that ran.
    """

    source: str
    suffix: str
    desc: str | None
    datatype: str = "anat"
    units: str | None = None
    algorithm: str = ""
    steps: tuple[str, ...] = ()


FIELD = "magnitude-weighted complex fit over echoes, after removal of phase offsets (MCPC-3D-S)"
FIELD_NOISE = "standard error of the fit"
OFFSET = "phase at an echo time of zero, smooth, averaged over blocks of voxels (MCPC-3D-S)"
TRUST = "coherence that the standard error leaves to the phase: 0 random, 1 certain"
RELAXATION = "fit of the decay of the magnitude over echoes"
CHI_NOISE = "standard error of the field through a Tikhonov-regularised inversion, an estimate"
SWI = "combined magnitude without coil profile, times a sigmoid of the filtered field (as CLEAR-SWI)"
MIP = "minimum over a sliding slab of the susceptibility-weighted image"
# how chi is made, and by which steps
SOLVERS = {
    "tgv": ("TGV-QSM (Langkammer 2015)", ("tgv", "combine")),
    "inversion": (
        "background field removal, then dipole inversion",
        ("background", "inversion", "combine"),
    ),
}

OUTPUTS = {
    "mask": Output("filled", "mask", "qsm", steps=("masks",)),
    "mask_reliable": Output("reliable", "mask", "reliable", steps=("masks",)),
    "chi": Output("chi", "Chimap", None, "anat", "ppm"),
    "chi_singlepass": Output("chi_singlepass", "Chimap", "singlepass", "anat", "ppm"),
    "chi_noise": Output("chi_noise", "Chimap", "noise", "anat", "ppm", CHI_NOISE, ("field", "chi_noise")),
    "r2star": Output("r2star", "R2starmap", None, "anat", "1/s", RELAXATION, ("relaxation",)),
    "t2star": Output("t2star", "T2starmap", None, "anat", "s", RELAXATION, ("relaxation",)),
    "s0": Output("s0", "S0map", None, "anat", "arbitrary", RELAXATION, ("relaxation",)),
    "swi": Output("swi", "swi", None, "anat", "arbitrary", SWI, ("swi",)),
    "mip": Output("mip", "minIP", None, "anat", "arbitrary", MIP, ("swi",)),
    "total_field": Output("total_field", "fieldmap", "total", "fmap", "Hz", FIELD, ("field",)),
    "local_field": Output(
        "local_field", "fieldmap", "local", "fmap", "Hz", "background field removal", ("field", "background")
    ),
    "field_noise": Output("field_noise", "fieldmap", "noise", "fmap", "Hz", FIELD_NOISE, ("field",)),
    "field_trust": Output("field_trust", "fieldmap", "trust", "fmap", "arbitrary", TRUST, ("field",)),
    "offset": Output("offset", "phase", "offset", "figures", "rad", OFFSET, ("field",)),
    "magnitude": Output(
        "magnitude", "magnitude", None, "fmap", "arbitrary", "root sum of squares over echoes"
    ),
}

# Settings that each step depends on, for the sidecars
PARAMETERS = {
    "masks": (
        "mask",
        "mask_threshold",
        "mask_threshold_value",
        "mask_closing",
        "mask_components",
        "mask_erosion",
    ),
    "field": ("unwrapping", "bipolar"),
    "background": ("background",),
    "tgv": ("tgv_alpha", "tgv_iterations", "tgv_tolerance", "two_pass"),
    "inversion": ("inversion", "two_pass"),
    "combine": ("reference",),
    "relaxation": (),
    "swi": (),
    "chi_noise": (),
}
NOT_IN_SIDECARS = {"seconds", "peak_mb", "warnings", "history"}


class DerivativesInputSpec(StepInputSpec):
    """Inputs of `WriteDerivatives`."""

    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="whose maps they are")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    output_dir = traits.Str(mandatory=True)
    bids_dir = traits.Str(mandatory=True)
    parameters = traits.Str(mandatory=True, desc="settings of the steps, as JSON")
    magnitude = File(exists=True, mandatory=True)
    filled = File(exists=True, mandatory=True)
    reliable = File(exists=True)
    chi = File(exists=True, mandatory=True)
    chi_singlepass = File(exists=True)
    total_field = File(exists=True)
    field_noise = File(exists=True)
    field_trust = File(exists=True)
    offset = File(exists=True)
    local_field = File(exists=True)
    chi_noise = File(exists=True)
    swi = File(exists=True)
    mip = File(exists=True)
    r2star = File(exists=True)
    t2star = File(exists=True)
    s0 = File(exists=True)
    masks_facts = File(exists=True)
    field_facts = File(exists=True)
    relaxation_facts = File(exists=True)
    background_facts = File(exists=True)
    tgv_facts = File(exists=True)
    inversion_facts = File(exists=True)
    swi_facts = File(exists=True)
    chi_noise_facts = File(exists=True)
    combine_facts = File(exists=True)


class WriteDerivatives(Step):
    """Write all maps of an acquisition with their sidecars."""

    input_spec, output_spec = DerivativesInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the maps; the facts name them relative to the output folder."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        written = {}
        for name, output in OUTPUTS.items():
            file = defined(getattr(given, output.source))
            if file is None:
                continue
            path = output_path(output_dir, given.acquisition, output)
            save_image(_voxels(name, file), load_affine(file), path, self._sidecar(output))
            written[name] = path.relative_to(output_dir).as_posix()
        return {"outputs": written}

    def _sidecar(self, output: Output) -> dict[str, Any]:
        given = self.inputs
        settings = json.loads(given.parameters)
        parameters: dict[str, Any] = {}
        algorithm, steps = output.algorithm, output.steps
        if output.suffix == "Chimap" and not steps:
            algorithm, steps = SOLVERS["inversion" if defined(given.inversion_facts) else "tgv"]
        for step in steps:
            noted = read_json(Path(getattr(given, f"{step}_facts")))
            chosen = {key: settings[key] for key in PARAMETERS[step] if key in settings}
            results = {key: value for key, value in noted.items() if key not in NOT_IN_SIDECARS}
            parameters |= camel_case(chosen) | camel_case(results)
        return image_sidecar(
            [bids_uri(file, Path(given.bids_dir)) for file in given.acquisition.files],
            units=output.units,
            skull_stripped=False if output.units else None,
            algorithm=algorithm or None,
            parameters=parameters,
        )


def _voxels(name: str, file: str) -> NDArray:
    if name.startswith("mask"):
        return load_mask(file)
    return combine_magnitude(load(file)) if name == "magnitude" else load(file)


def output_path(output_dir: Path, acquisition: Acquisition, output: Output) -> Path:
    """Return where a derivative of an acquisition goes."""
    return derivative_path(
        output_dir, acquisition.output_entities, output.suffix, desc=output.desc, datatype=output.datatype
    )


def maps_on_disk(output_dir: Path, acquisition: Acquisition) -> tuple[str, ...]:
    """Return all maps of an acquisition that are there, whichever run wrote them, relative to the folder."""
    paths = (output_path(output_dir, acquisition, output) for output in OUTPUTS.values())
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
