"""A susceptibility map of another program in place of a reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.headers import read_header, same_grid
from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.qsm.susceptibility_units import units_of, values_mask
from qsmxt_app.registration import Grid, Image
from qsmxt_app.registration.masked_resampling import resample_in_mask, resample_mask
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec, load_affine, volume_ml
from qsmxt_app.workflows.nodes.inputs import image

AS_GIVEN = "as given"
"""What a map of another program is relative to, where that is not changed."""


class ExistingMapInputSpec(StepInputSpec):
    """Inputs of `LoadExistingMap`."""

    chimap = File(exists=True, mandatory=True, desc="of another program")
    units = traits.Str("", usedefault=True, desc="Units of its sidecar")
    program = traits.Str(mandatory=True, desc="what made it")
    magnitude = image("all echoes; gives the grid")
    subtract_mean = traits.Bool(mandatory=True, desc="whether chi is made relative to its mean")


class ExistingMapOutputSpec(StepOutputSpec):
    """Outputs of `LoadExistingMap`."""

    chi = File(exists=True, desc="ppm")
    mask = File(exists=True, desc="where the map has values")


class LoadExistingMap(Step):
    """Read a map of another program, in ppm and on the grid of the magnitude."""

    input_spec, output_spec = ExistingMapInputSpec, ExistingMapOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save chi and its mask."""
        given, path = self.inputs, Path(self.inputs.chimap)
        try:
            chi, mask, warnings = self._on_grid(path)
            units = units_of(chi, mask, given.units)
        except ValueError as error:
            raise UnusableData(f"{path}: {error}.", "Correct the map or its sidecar.") from error
        found = reference_chi(
            (chi * units.to_ppm).astype(np.float32), mask, "mean" if given.subtract_mean else "none"
        )
        if units.name != "ppm":
            warnings.append(
                f"The given map {path.name} is in {units.name}, known by {units.known_by}: converted to ppm."
            )
        affine = load_affine(given.magnitude)
        self.save_maps({"chi": found.chi, "mask": mask}, affine, folder)
        return {
            "reference": "mean" if given.subtract_mean else AS_GIVEN,
            "reference_value_ppm": found.value,
            "reference_voxels": found.voxels,
            "origin": {
                "file": path.name,
                "program": given.program,
                "units": units.name,
                "units_known_by": units.known_by,
            },
            "volume_ml": volume_ml(mask, affine),
            "method": "where the given map has values",
            "warnings": warnings,
        }

    def _on_grid(self, path: Path) -> tuple[Any, Any, list[str]]:
        """Read the map; one on another grid in the same scanner coordinates is resampled."""
        header, own = read_header(path), read_header(Path(self.inputs.magnitude))
        if len(header.shape) > 3:
            raise ValueError(f"{header.shape[3]} volumes instead of one")
        values = read_image(path).reshape(header.shape)
        mask = values_mask(values)
        if same_grid(header, own):
            return np.where(mask, values, 0), mask, []
        x, y, z = own.shape[:3]
        grid, inside = Grid((x, y, z), own.affine), Image(mask, header.affine)
        kept = resample_mask(inside, grid).array
        if not kept.any():
            raise ValueError("it lies outside the magnitude, in scanner coordinates")
        moved = resample_in_mask(Image(np.where(mask, values, 0), header.affine), inside, grid).array
        return moved, kept, [f"The given map {path.name} was resampled to the grid of the magnitude."]
