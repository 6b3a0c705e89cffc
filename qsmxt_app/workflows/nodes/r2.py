"""R2 on the grid of the gradient echoes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import convert
from nipype.interfaces.base import File, traits

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bids.acquisition import R2Images
from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.headers import read_header
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.spin_echo import fit_r2
from qsmxt_app.registration import Image, apply
from qsmxt_app.registration.resample import without_shear
from qsmxt_app.registration.same_head import register_same_head
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec, load, load_affine, load_mask
from qsmxt_app.workflows.nodes.inputs import image

_SIGNAL = 0.05
"""Share of the brightest signal below which there is none to fit."""
_LEAST_RATE = 0.1
"""1/s: T2 beyond 10 s is no measurement."""
_LIKE = 0.1
"""Squared local correlation below which two scans of one head are poorly aligned."""


class R2InputSpec(StepInputSpec):
    """Inputs of `LoadR2`."""

    images = traits.Str(mandatory=True, desc="what R2 comes from, as JSON")
    files = traits.List(File(exists=True), mandatory=True, desc="its images, for the cache")
    magnitude = image("all echoes of the scan")
    mask = image("where there is signal")


class R2OutputSpec(StepOutputSpec):
    """Outputs of `LoadR2`."""

    r2 = File(exists=True, desc="1/s, 0 where it was not measured")


class LoadR2(Step):
    """Read or fit R2, and bring it to the scan by a rigid registration."""

    input_spec, output_spec = R2InputSpec, R2OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save R2."""
        given = self.inputs
        source = convert(json.loads(given.images), R2Images, dec_hook=lambda _, name: Path(name))
        affine = np.asarray(read_header(source.files[0]).affine)
        shown, r2 = read_r2(source)
        fixed_affine, mask = load_affine(given.magnitude), load_mask(given.mask)
        fixed = Image(combine_magnitude(load(given.magnitude)), fixed_affine)
        found = register_same_head(fixed, mask, without_shear(Image(shown, affine)))
        # voxels without a measurement have no part in the mean of their neighbours
        brought, share = (
            apply(Image(values.astype(np.float32), affine), fixed.grid, found.transform).array
            for values in (r2, r2 > 0)
        )
        on_grid = np.where(share > 0.5, brought / np.maximum(share, 0.5), 0)
        self.save_maps({"r2": on_grid}, fixed_affine, folder)
        facts = {
            "source": source.kind,
            "shift_mm": round(found.shift_mm, 2),
            "angle_degrees": round(found.angle_degrees, 2),
            "likeness": round(found.likeness, 3),
        }
        if found.likeness < _LIKE:
            name = source.files[0].name
            return facts | {"warnings": [f"{name} and the gradient echoes are poorly aligned: check R2."]}
        return facts


def read_r2(source: R2Images) -> tuple[FloatArray, FloatArray]:
    """Return an image by which to register, and R2 in 1/s, on their own grid."""
    if source.kind == "MESE":
        echoes = [read_image(file) for file in source.files]
        images = echoes[0] if len(echoes) == 1 else np.stack(echoes, axis=-1)
        shown = np.ascontiguousarray(images[..., 1])
        mask = shown > _SIGNAL * np.percentile(shown, 99)
        return shown, fit_r2(images, source.echo_times, mask=mask)
    values = np.nan_to_num(read_image(source.files[0], finite=False), posinf=0, neginf=0) * np.float32(
        source.scale
    )
    if source.kind == "T2map":
        values = np.divide(1, values, out=np.zeros_like(values), where=values > 1e-3)
    values = np.where(values < _LEAST_RATE, 0, values).astype(np.float32)
    return np.minimum(values, np.percentile(values, 99)), values
