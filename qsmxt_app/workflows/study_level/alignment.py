"""Steps that register scans and participants to one space: each registration is a step of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from qsmxt_app.errors import UnusableData
from qsmxt_app.group.grid import box_of, common_resolution, grid_around
from qsmxt_app.group.intensity import normalise
from qsmxt_app.group.masked import apply_masked
from qsmxt_app.group.running import masked_mean
from qsmxt_app.group.shape import centred
from qsmxt_app.registration import Grid, Image, Transform, apply, linear, load_transform, save_transform
from qsmxt_app.registration.deformable import GREEDY, METHODS, register_deformable
from qsmxt_app.registration.greedy import Deformation, Pair
from qsmxt_app.registration.head_alignment import align
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec, load, load_image, save

COARSEST_MM = 8.0
DEFORMABLE_ITERATIONS = (100, 100, 60, 30)
"""At most, on each level to the finest."""
UPDATE_SMOOTHING = 2.5
"""In voxels: between heads of different people what differs is smoother than between a head and itself."""
TRANSFORM, INVERSE_TRANSFORM = "transform.h5", "inverse_transform.h5"


def shrink_factors(voxel_size: Sequence[float], finest_mm: float = 0.0) -> tuple[int, ...]:
    """Return how much an image is shrunk on each level of a registration: from about 8 mm by halves.

    Parameters
    ----------
    voxel_size
        Of the fixed image, mm.
    finest_mm
        Levels finer than this are left out, but never all; 0: none is.

    Examples
    --------
    >>> shrink_factors((1.0, 1.0, 1.0)), shrink_factors((1.0, 1.0, 1.0), finest_mm=4.0)
    ((8, 4, 2, 1), (8, 4))
    """
    edge = float(np.prod(voxel_size)) ** (1 / 3)
    coarsest = max(1, round(np.log2(COARSEST_MM / edge)))
    factors = [2**power for power in range(coarsest, -1, -1)]
    return tuple(factor for factor in factors if factor * edge >= finest_mm) or (factors[0],)


def register_linear(fixed: Image, moving: Image, *, affine: bool, initial: Transform | None) -> Transform:
    """Find the linear transform from one image to another.

    Raises
    ------
    UnusableData
        They have too little in common.
    """
    try:
        return align(fixed, moving, affine=affine, initial=initial)
    except ValueError as error:
        raise UnusableData(
            f"registration failed: too little overlap ({error}).",
            "Look whether both show the same part of the body; leave it out with --participant-label.",
        ) from error


def register_channels(
    fixed: list[Image],
    moving: list[Image],
    initial: Transform,
    *,
    finest_mm: float = 0.0,
    method: str = GREEDY,
) -> Transform:
    """Find the deformation between images of several contrasts, from a linear transform."""
    factors = shrink_factors(fixed[0].voxel_size, finest_mm)
    options = Deformation(
        iterations=DEFORMABLE_ITERATIONS[-len(factors) :],
        shrink=factors,
        update_smoothing=UPDATE_SMOOTHING,
    )
    pairs = [Pair(one, other) for one, other in zip(fixed, moving, strict=True)]
    return register_deformable(pairs, fixed[0].grid, initial, options, method)


class PrepareScanInputSpec(StepInputSpec):
    """Inputs of `PrepareScan`."""

    magnitude = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)


class PrepareScanOutputSpec(StepOutputSpec):
    """Outputs of `PrepareScan`."""

    image = File(exists=True)


class PrepareScan(Step):
    """Normalise a magnitude (or T1w image): remove the coil profile and the scale."""

    input_spec, output_spec = PrepareScanInputSpec, PrepareScanOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the normalised image."""
        image, mask = load_image(self.inputs.magnitude), load(self.inputs.mask) != 0
        flat = normalise(image.array, mask, image.voxel_size)
        self._results["image"] = save(flat, image.affine, folder / "image.nii")
        return {}


class RegisterLinearInputSpec(StepInputSpec):
    """Inputs of `RegisterLinear`."""

    fixed = File(exists=True, mandatory=True)
    moving = File(exists=True, mandatory=True)
    initial = File(exists=True, desc="from moving to fixed; else the centres of mass are aligned")
    model = traits.Enum("rigid", "affine", mandatory=True)


class RegisterOutputSpec(StepOutputSpec):
    """Outputs of a registration."""

    transform = File(exists=True, desc="from moving to fixed")


class RegisterLinear(Step):
    """Find the rigid or affine transform between two images."""

    input_spec, output_spec = RegisterLinearInputSpec, RegisterOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform."""
        fixed, moving = load_image(self.inputs.fixed), load_image(self.inputs.moving)
        initial = load_transform(Path(self.inputs.initial)) if isdefined(self.inputs.initial) else None
        found = register_linear(fixed, moving, affine=self.inputs.model == "affine", initial=initial)
        self._results["transform"] = str(save_transform(found, folder / "transform.txt"))
        return {"matrix": found.matrix.tolist()}


class AveragePersonInputSpec(StepInputSpec):
    """Inputs of `AveragePerson`: lists with one item a scan."""

    images = traits.List(File(exists=True), mandatory=True, desc="normalised magnitudes")
    masks = traits.List(File(exists=True), mandatory=True)
    chis = traits.List(File(exists=True), mandatory=True)
    transforms = traits.List(File(exists=True), desc="from each further scan to the first")
    t1w = File(exists=True, desc="normalised")
    t1w_to_scan = File(exists=True, desc="transform from the T1w image to the first scan")


class AveragePersonOutputSpec(StepOutputSpec):
    """Outputs of `AveragePerson`."""

    magnitude = File(exists=True)
    mask = File(exists=True)
    chi = File(exists=True)
    t1w = File(exists=True)
    to_person = traits.List(File(exists=True), desc="from each scan to the mean of all")


class AveragePerson(Step):
    """Average the scans of one participant at their mean position, so that no participant counts twice."""

    input_spec, output_spec = AveragePersonInputSpec, AveragePersonOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the average images and the transforms to them."""
        given = self.inputs
        found = [np.eye(4)]
        if isdefined(given.transforms):
            found += [load_transform(Path(file)).matrix for file in given.transforms]
        matrices = centred(found) if len(found) > 1 else found
        masks = [load_image(file) for file in given.masks]
        grid = _common_grid(masks, matrices)
        transforms = [linear(matrix) for matrix in matrices]
        self._results["to_person"] = [
            str(save_transform(transform, folder / f"to_person_{number}.txt"))
            for number, transform in enumerate(transforms)
        ]
        for name, files in (("magnitude", given.images), ("chi", given.chis)):
            brought = [
                apply_masked(load_image(file), mask.array > 0, grid, transform)
                for file, mask, transform in zip(files, masks, transforms, strict=True)
            ]
            mean, inside = masked_mean(brought)
            self._results[name] = save(mean, grid.affine, folder / f"{name}.nii")
        self._results["mask"] = save(inside, grid.affine, folder / "mask.nii")
        if isdefined(given.t1w):
            chain = load_transform(Path(given.t1w_to_scan)).then(transforms[0])
            t1w = apply(load_image(given.t1w), grid, chain)
            self._results["t1w"] = save(t1w.array, grid.affine, folder / "t1w.nii")
        return {"scans": len(found)}


class RegisterDeformableInputSpec(StepInputSpec):
    """Inputs of `RegisterDeformable`: as many fixed as moving images, the magnitude first."""

    fixed = traits.List(File(exists=True), mandatory=True)
    moving = traits.List(File(exists=True), mandatory=True)
    initial = File(exists=True, mandatory=True, desc="affine transform from moving to fixed")
    finest_mm = traits.Float(0.0, usedefault=True, desc="finest level; 0: that of the voxels")
    method = traits.Enum(*METHODS, usedefault=True, desc="of the deformable registration")


class RegisterDeformableOutputSpec(RegisterOutputSpec):
    """Outputs of `RegisterDeformable`."""

    inverse_transform = File(exists=True, desc="from fixed to moving")


class RegisterDeformable(Step):
    """Find the deformation between a participant and a template, over all channels at once."""

    input_spec, output_spec = RegisterDeformableInputSpec, RegisterDeformableOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform and its inverse."""
        given = self.inputs
        fixed, moving = ([load_image(file) for file in files] for files in (given.fixed, given.moving))
        initial = load_transform(Path(given.initial))
        found = register_channels(fixed, moving, initial, finest_mm=given.finest_mm, method=given.method)
        self._results["transform"] = str(save_transform(found, folder / TRANSFORM))
        self._results["inverse_transform"] = str(save_transform(found.inverse(), folder / INVERSE_TRANSFORM))
        return {}


class RegisterToTemplateInputSpec(StepInputSpec):
    """Inputs of `RegisterToTemplate`: as many fixed as moving images."""

    fixed = traits.List(File(exists=True), mandatory=True)
    moving = traits.List(File(exists=True), mandatory=True)
    fixed_mask = File(exists=True, desc="region of the template that is registered")
    method = traits.Enum(*METHODS, usedefault=True, desc="of the deformable registration")


class RegisterToTemplate(Step):
    """Find the transform from a participant to a template that is left as it is."""

    input_spec, output_spec = RegisterToTemplateInputSpec, RegisterDeformableOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform and its inverse."""
        given = self.inputs
        fixed, moving = ([load_image(file) for file in files] for files in (given.fixed, given.moving))
        if isdefined(given.fixed_mask):
            inside = load(given.fixed_mask) > 0
            fixed = [image.with_array(np.where(inside, image.array, 0)) for image in fixed]
        initial = register_linear(fixed[0], moving[0], affine=True, initial=None)
        found = register_channels(fixed, moving, initial, method=given.method)
        self._results["transform"] = str(save_transform(found, folder / TRANSFORM))
        self._results["inverse_transform"] = str(save_transform(found.inverse(), folder / INVERSE_TRANSFORM))
        return {}


def _common_grid(masks: Sequence[Image], matrices: Sequence[np.ndarray]) -> Grid:
    """Return the grid of a participant: that of a single scan, else cubes around all of them."""
    if len(masks) == 1:
        return masks[0].grid
    boxes = [
        box_of(mask.array > 0, np.linalg.inv(matrix) @ mask.affine)
        for mask, matrix in zip(masks, matrices, strict=True)
    ]
    return grid_around(boxes, common_resolution([mask.voxel_size for mask in masks]))
