"""Chi relative to a region of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.echo_maps import for_each_echo
from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.segment.reference_region import described_reference, find_reference, inner_part
from qsmxt_app.segment.regions import read_regions
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
from qsmxt_app.workflows.nodes.inputs import image


class RegionReferenceInputSpec(StepInputSpec):
    """Inputs of `ReferToRegion`."""

    chi = image("ppm, relative to anything")
    chi_singlepass = File(exists=True, desc="ppm")
    chi_echoes = File(exists=True, desc="ppm, one an echo")
    mask = image("where chi is reported")
    dseg = image("labels on the grid of chi")
    regions = File(exists=True, mandatory=True, desc="their table")
    combine_facts = File(exists=True, mandatory=True, desc="what was subtracted from chi before")
    reference = traits.Str(mandatory=True, desc="name or number of the region")


class RegionReferenceOutputSpec(StepOutputSpec):
    """Outputs of `ReferToRegion`."""

    chi = File(exists=True, desc="ppm")
    chi_singlepass = File(exists=True, desc="ppm")
    chi_echoes = File(exists=True, desc="ppm, one an echo")


class ReferToRegion(Step):
    """Subtract the mean over a region from chi."""

    input_spec, output_spec = RegionReferenceInputSpec, RegionReferenceOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the final map, that of a single pass and those of single echoes, where there are such."""
        given = self.inputs
        regions = find_reference(given.reference, read_regions(Path(given.regions)))
        name, mask = described_reference(regions), load_mask(given.mask)
        found = np.isin(load(given.dseg), [region.index for region in regions]) & mask
        if not found.any():
            raise UnusableData(
                f"{name}: no voxel of this region lies in the mask of chi.", "Choose another --reference."
            )
        where = inner_part(found)
        referenced = reference_chi(load(given.chi), mask, where)
        maps = {"chi": referenced.chi}
        for other in ("chi_singlepass", "chi_echoes"):
            if file := defined(getattr(given, other)):
                maps[other] = for_each_echo(lambda one: reference_chi(one, mask, where).chi, load(file))
        self.save_maps(maps, load_affine(given.chi), folder)
        before = float(read_json(Path(given.combine_facts)).get("reference_value_ppm", 0.0))
        return {
            "reference": name,
            "reference_labels": [region.index for region in regions],
            "reference_voxels": referenced.voxels,
            "reference_region_voxels": int(np.count_nonzero(found)),
            "reference_value_ppm": before + referenced.value,
        }
