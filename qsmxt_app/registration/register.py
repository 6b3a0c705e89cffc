"""Registration: the transform from one image to another, by ``antsRegistration``.

Stages run one after the other: usually rigid, then affine, then SyN. The same input gives the same bytes.

References
----------
Avants BB, et al. NeuroImage 54:2033-2044 (2011): ANTs; Med Image Anal 12:26-41 (2008): SyN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from qsmxt_app.arrays import BoolArray
from qsmxt_app.registration.image import Image, ants_affine, to_ants
from qsmxt_app.registration.library import RANDOM_SEED, ants, run_registration
from qsmxt_app.registration.transform_files import linear_from_itk, save_transform
from qsmxt_app.registration.transforms import Step, Transform, Warp

Model = Literal["rigid", "affine", "syn"]
Metric = Literal["MI", "CC"]

_TOLERANCE, _WINDOW = 1e-6, 10


@dataclass(frozen=True)
class Stage:
    """One stage of a registration.

    Attributes
    ----------
    model
        Freedom of the transform.
    metric
        ``"MI"``: Mattes mutual information with ``metric_size`` bins, for images of different contrast.
        ``"CC"``: local correlation in cubes of radius ``metric_size`` voxels, for images of like contrast.
    metric_size
        Bins or voxels.
    sampling
        Share of the voxels at which the metric of a linear stage is sampled, on a regular lattice.
    iterations, shrink, smoothing
        For each level: maximum number of iterations, shrink factor, and standard deviation in voxels of
        the smoothing.
    step
        Gradient step (for SyN in voxels).
    flow_smoothing, total_smoothing
        Variance in voxels of the Gaussian that SyN's update and whole field are smoothed with.
    """

    model: Model
    metric: Metric = "MI"
    metric_size: int = 32
    sampling: float = 0.25
    iterations: tuple[int, ...] = (1000, 500, 250, 0)
    shrink: tuple[int, ...] = (8, 4, 2, 1)
    smoothing: tuple[float, ...] = (3, 2, 1, 0)
    step: float = 0.1
    flow_smoothing: float = 3.0
    total_smoothing: float = 0.0


RIGID = Stage("rigid")
AFFINE = Stage("affine")
SYN = Stage("syn", "CC", 4, iterations=(100, 70, 50, 20), step=0.2)


@dataclass(frozen=True)
class Channel:
    """A further pair of images that a SyN stage registers, on the same spaces as the first.

    Attributes
    ----------
    fixed, moving : Image
        The moving image may lie on another grid than the first moving image.
    weight
        Of its metric, where the first pair has 1.
    """

    fixed: Image
    moving: Image
    weight: float = 1.0


def register(
    fixed: Image,
    moving: Image,
    stages: Sequence[Stage] = (RIGID,),
    *,
    fixed_mask: BoolArray | None = None,
    initial: Transform | None = None,
    channels: Sequence[Channel] = (),
) -> Transform:
    """Find the transform from one image to another.

    Parameters
    ----------
    fixed : Image
        The target.
    moving : Image
        The image that is registered.
    stages
        Rigid and affine ones first.
    fixed_mask : ndarray of bool
        On the fixed image's grid: where the metric is computed.
    initial : Transform
        Linear, from moving to fixed, to start from. None: the centres of mass are aligned. To start from
        what the headers say, give ``Transform()``.
    channels
        Further pairs of images for the SyN stages.

    Returns
    -------
    Transform
        From moving to fixed.

    Raises
    ------
    ValueError
        An image is not finite or has an affine with a shear.
    RuntimeError
        ITK failed.
    """
    with TemporaryDirectory(prefix="qsmxt-registration-") as folder:
        images = [(to_ants(fixed), to_ants(moving), 1.0)]
        images += [(to_ants(c.fixed), to_ants(c.moving), c.weight) for c in channels]
        mask = None if fixed_mask is None else to_ants(fixed.with_array(fixed_mask)).clone("unsigned char")
        arguments = ["--dimensionality", 3, "--float", 1, "--random-seed", RANDOM_SEED]
        arguments += ["--initial-moving-transform", _start(images, initial, Path(folder))]
        if mask is not None:
            arguments += ["--masks", f"[{_pointer(mask)},NA]"]
        for stage in stages:
            arguments += _stage_arguments(stage, images if stage.model == "syn" else images[:1])
        run_registration([*arguments, "--output", f"{folder}/found"])
        return _read_result(Path(folder))


def _start(images: list[tuple[Any, Any, float]], initial: Transform | None, folder: Path) -> str:
    if initial is None:
        return f"[{_pointer(images[0][0])},{_pointer(images[0][1])},1]"
    return str(save_transform(initial, folder / "initial.txt"))


def _pointer(image: Any) -> str:
    from ants.internal import get_pointer_string

    return str(get_pointer_string(image))


def _stage_arguments(stage: Stage, images: list[tuple[Any, Any, float]]) -> list[Any]:
    models = {
        "rigid": f"Rigid[{stage.step}]",
        "affine": f"Affine[{stage.step}]",
        "syn": f"SyN[{stage.step},{stage.flow_smoothing},{stage.total_smoothing}]",
    }
    sampling = "" if stage.model == "syn" else f",Regular,{stage.sampling}"
    arguments: list[Any] = ["--transform", models[stage.model]]
    for fixed, moving, weight in images:
        pair = f"{_pointer(fixed)},{_pointer(moving)},{weight},{stage.metric_size}"
        arguments += ["--metric", f"{stage.metric}[{pair}{sampling}]"]
    levels = "x".join(str(n) for n in stage.iterations)
    arguments += ["--convergence", f"[{levels},{_TOLERANCE},{_WINDOW}]"]
    arguments += ["--shrink-factors", "x".join(str(n) for n in stage.shrink)]
    arguments += ["--smoothing-sigmas", "x".join(f"{n:g}" for n in stage.smoothing) + "vox"]
    return arguments


def _read_result(folder: Path) -> Transform:
    matrix = ants.read_transform(str(folder / "found0GenericAffine.mat"))
    steps: list[Step] = [linear_from_itk(matrix.parameters, matrix.fixed_parameters)]
    forward, backward = (folder / f"found1{kind}.nii.gz" for kind in ("Warp", "InverseWarp"))
    if forward.exists():
        field = ants.image_read(str(forward))
        there, back = (
            np.ascontiguousarray(f.numpy() * [-1, -1, 1], dtype=np.float32)
            for f in (field, ants.image_read(str(backward)))
        )
        steps.insert(0, Warp(there, back, ants_affine(field)))
    return Transform(tuple(steps))
