"""Steps that make a template of participants registered to it, one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, isdefined, traits
from numpy.typing import NDArray

from qsmxt_app.group.grid import box_of, grid_around
from qsmxt_app.group.intensity import relative_change, sharpen
from qsmxt_app.group.masked import apply_masked
from qsmxt_app.group.running import RunningStatistics
from qsmxt_app.group.shape import MeanDisplacement, centred
from qsmxt_app.registration import (
    Grid,
    Image,
    Transform,
    Warp,
    apply,
    linear,
    load_transform,
    save_transform,
)
from qsmxt_app.registration.transform_files import invert_displacement
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec, load, load_image, save
from qsmxt_app.workflows.study_level.alignment import INVERSE_TRANSFORM, TRANSFORM


class AverageInputSpec(StepInputSpec):
    """Images of all participants: lists with one item each."""

    magnitudes = traits.List(File(exists=True), mandatory=True)
    masks = traits.List(File(exists=True), mandatory=True)
    chis = traits.List(File(exists=True), mandatory=True)
    t1ws = traits.List(File(exists=True))
    transforms = traits.List(File(exists=True), mandatory=True, desc="from each participant to the template")


class TemplateOutputSpec(StepOutputSpec):
    """A template."""

    magnitude = File(exists=True)
    mask = File(exists=True, desc="where at least half of the participants are")
    chi = File(exists=True)
    t1w = File(exists=True)


class AverageLinearInputSpec(AverageInputSpec):
    """Inputs of `AverageLinear`."""

    resolution = traits.Float(mandatory=True, desc="voxel edge of the template, mm")


class AverageLinearOutputSpec(TemplateOutputSpec):
    """Outputs of `AverageLinear`."""

    to_template = traits.List(File(exists=True), desc="from each participant to the new template")


class AverageLinear(Step):
    """Put a template at the mean of linear transforms, and average all participants there."""

    input_spec, output_spec = AverageLinearInputSpec, AverageLinearOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the template, and the transforms to it."""
        given = self.inputs
        matrices = centred([load_transform(Path(file)).matrix for file in given.transforms])
        boxes = []
        for file, matrix in zip(given.masks, matrices, strict=True):
            mask = load_image(file)
            boxes.append(box_of(mask.array > 0, np.linalg.inv(matrix) @ mask.affine))
        grid = grid_around(boxes, given.resolution)
        transforms = [linear(matrix) for matrix in matrices]
        self._results |= average(given, iter(transforms), grid, folder)
        self._results["to_template"] = [
            str(save_transform(transform, folder / f"to_template_{number}.txt"))
            for number, transform in enumerate(transforms)
        ]
        return {"shape": list(grid.shape), "resolution": given.resolution}


class UpdateTemplateInputSpec(AverageInputSpec):
    """Inputs of `UpdateTemplate`."""

    inverse_transforms = traits.List(File(exists=True), mandatory=True, desc="of the transforms")
    template = File(exists=True, mandatory=True, desc="magnitude of the template they lead to")


class UpdateTemplateOutputSpec(TemplateOutputSpec):
    """Outputs of `UpdateTemplate`."""

    recentre = File(exists=True, desc="from the old template to the new one")
    recentre_inverse = File(exists=True)
    change = traits.Float(desc="of the template, relative to its contrast")


class UpdateTemplate(Step):
    """Move the template to the mean shape of all participants, and average them there.

    The mean of all transforms from the template to participants, inverted, leads to a template for which
    that mean is none (Avants 2010, NeuroImage 49:2457). Every image is resampled once, through its whole
    chain.
    """

    input_spec, output_spec = UpdateTemplateInputSpec, UpdateTemplateOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the new template, the transform to it, and how much it changed."""
        given = self.inputs
        old = load_image(given.template)
        recentre, largest = self._recentre(old)
        # both steps of the chain live on this grid, so participants come straight to the new template
        chains = (transform.then(recentre) for transform in self._transforms())
        self._results |= average(given, chains, old.grid, folder)
        self._results["recentre"] = str(save_transform(recentre, folder / TRANSFORM))
        self._results["recentre_inverse"] = str(
            save_transform(recentre.inverse(), folder / INVERSE_TRANSFORM)
        )
        new = load(self._results["magnitude"])
        # changes at the border of the mask are not changes of anatomy
        change = relative_change(new, old.array, (new != 0) & (old.array != 0))
        self._results["change"] = change
        return {"change": change, "shape_update_mm": largest}

    def _transforms(self) -> Iterator[Transform]:
        for file, back in zip(self.inputs.transforms, self.inputs.inverse_transforms, strict=True):
            yield load_transform(Path(file), Path(back))

    def _recentre(self, old: Image) -> tuple[Transform, float]:
        """Return the transform to the mean shape, and the largest distance that it moves any tissue."""
        grid = old.grid
        running = MeanDisplacement(grid.shape)
        for transform in self._transforms():
            running.add(deformation(transform))
        mean = running.mean
        largest = float(np.sqrt((mean[old.array > 0] ** 2).sum(axis=-1).max(initial=0)))
        return Transform((Warp(invert_displacement(mean, grid.affine), mean, grid.affine),)), largest


def deformation(transform: Transform) -> NDArray[np.float32]:
    """Return the displacement of a transform beyond its affine part, on the template's grid."""
    first = transform.steps[0]
    if not isinstance(first, Warp):
        raise ValueError("the transform has no deformation")
    return first.displacement


def average(given: Any, transforms: Iterator[Transform], grid: Grid, folder: Path) -> dict[str, str]:
    """Average the images of all participants on the template's grid; return the files by output.

    Parameters
    ----------
    given
        Inputs of `AverageInputSpec`.
    transforms
        From each participant to the template.
    grid
        Of the template.
    folder
        Where the files go.
    """
    names = {"magnitude": given.magnitudes, "chi": given.chis}
    if isdefined(given.t1ws):
        names["t1w"] = given.t1ws
    statistics = {name: RunningStatistics(grid.shape) for name in names}
    for number, transform in enumerate(transforms):
        mask = load(given.masks[number]) > 0
        for name, files in names.items():
            image = load_image(files[number])
            if name == "t1w":
                statistics[name].add(apply(image, grid, transform).array)
            else:
                statistics[name].add(*apply_masked(image, mask, grid, transform))
    count = statistics["magnitude"].count
    inside = count >= max(1, len(given.magnitudes) / 2)
    results = {"mask": save(inside, grid.affine, folder / "mask.nii")}
    for name, running in statistics.items():
        mean = sharpen(np.where(inside, running.mean, 0))
        results[name] = save(mean, grid.affine, folder / f"{name}.nii")
    return results
