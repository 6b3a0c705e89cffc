"""From the raw images to all echoes in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.acquisition_images import load_acquisition
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec
from qsmxt_app.workflows.nodes.inputs import VoxelSize


class PrepareInputSpec(StepInputSpec):
    """Inputs of `LoadAcquisition`."""

    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="what is read")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    voxel_size = VoxelSize
    files = traits.List(File(exists=True), mandatory=True, desc="the raw images, for the cache")


class PrepareOutputSpec(StepOutputSpec):
    """Outputs of `LoadAcquisition`."""

    magnitude = File(exists=True, desc="all echoes")
    phase = File(exists=True, desc="all echoes, rad")


class LoadAcquisition(Step):
    """Read all echoes, check their voxels, scale the phase to radians."""

    input_spec, output_spec = PrepareInputSpec, PrepareOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save magnitude and phase of all echoes."""
        acquisition = self.inputs.acquisition
        images = load_acquisition(
            acquisition, voxel_size=self.inputs.voxel_size, threads=self.inputs.num_threads
        )
        maps = {"magnitude": images.magnitude, "phase": images.phase}
        self.save_maps(maps, acquisition.affine, folder)
        return {"phase_scaling": images.phase_scaling, "warnings": images.warnings}
