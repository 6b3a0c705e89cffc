"""Deformable registration by SyN of ``antsRegistration``, where antspyx is installed.

The same input gives the same bytes.

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

from qsmxt_app.registration.image import Image, ants_affine, to_ants
from qsmxt_app.registration.library import RANDOM_SEED, ants, run_registration
from qsmxt_app.registration.transform_files import linear_from_itk, save_transform
from qsmxt_app.registration.transforms import Step, Transform, Warp

Metric = Literal["MI", "CC"]

_TOLERANCE, _WINDOW = 1e-6, 10


@dataclass(frozen=True)
class SynOptions:
    """How SyN registers.

    Attributes
    ----------
    metric
        ``"MI"``: Mattes mutual information with ``metric_size`` bins, for images of different contrast.
        ``"CC"``: local correlation in cubes of radius ``metric_size`` voxels, for images of like contrast.
    metric_size
        Bins or voxels.
    iterations, shrink, smoothing
        For each level: maximum number of iterations, shrink factor, and standard deviation in voxels of
        the smoothing.
    step
        Gradient step in voxels.
    flow_smoothing, total_smoothing
        Variance in voxels of the Gaussian that the update and the whole field are smoothed with.
    """

    metric: Metric = "CC"
    metric_size: int = 4
    iterations: tuple[int, ...] = (100, 70, 50, 20)
    shrink: tuple[int, ...] = (8, 4, 2, 1)
    smoothing: tuple[float, ...] = (3, 2, 1, 0)
    step: float = 0.2
    flow_smoothing: float = 3.0
    total_smoothing: float = 0.0


@dataclass(frozen=True)
class Channel:
    """A further pair of images, on the same spaces as the first.

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


def register_syn(
    fixed: Image,
    moving: Image,
    options: SynOptions,
    initial: Transform,
    channels: Sequence[Channel] = (),
) -> Transform:
    """Find the diffeomorphic transform from one image to another.

    Parameters
    ----------
    fixed : Image
        The target.
    moving : Image
        The image that is registered.
    options : SynOptions
    initial : Transform
        Linear, from moving to fixed, to start from.
    channels
        Further pairs of images.

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
        arguments: list[Any] = ["--dimensionality", 3, "--float", 1, "--random-seed", RANDOM_SEED]
        arguments += ["--initial-moving-transform", save_transform(initial, Path(folder, "initial.txt"))]
        arguments += _arguments(options, images)
        run_registration([*arguments, "--output", f"{folder}/found"])
        return _read_result(Path(folder))


def _pointer(image: Any) -> str:
    from ants.internal import get_pointer_string

    return str(get_pointer_string(image))


def _arguments(options: SynOptions, images: list[tuple[Any, Any, float]]) -> list[Any]:
    smoothing = f"{options.flow_smoothing},{options.total_smoothing}"
    arguments: list[Any] = ["--transform", f"SyN[{options.step},{smoothing}]"]
    for fixed, moving, weight in images:
        pair = f"{_pointer(fixed)},{_pointer(moving)},{weight},{options.metric_size}"
        arguments += ["--metric", f"{options.metric}[{pair}]"]
    levels = "x".join(str(n) for n in options.iterations)
    arguments += ["--convergence", f"[{levels},{_TOLERANCE},{_WINDOW}]"]
    arguments += ["--shrink-factors", "x".join(str(n) for n in options.shrink)]
    arguments += ["--smoothing-sigmas", "x".join(f"{n:g}" for n in options.smoothing) + "vox"]
    return arguments


def _read_result(folder: Path) -> Transform:
    matrix = ants.read_transform(str(folder / "found0GenericAffine.mat"))
    steps: list[Step] = [linear_from_itk(matrix.parameters, matrix.fixed_parameters)]
    forward, backward = (folder / f"found1{kind}.nii.gz" for kind in ("Warp", "InverseWarp"))
    field = ants.image_read(str(forward))
    there, back = (
        np.ascontiguousarray(f.numpy() * [-1, -1, 1], dtype=np.float32)
        for f in (field, ants.image_read(str(backward)))
    )
    return Transform((Warp(there, back, ants_affine(field)), *steps))
