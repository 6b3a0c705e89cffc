"""Transforms on disk, in the formats that ITK, ANTs and nitransforms read.

A linear transform is ITK's text (``.txt``); one with displacement fields is ITK's composite in HDF5
(``.h5``). A file holds one direction, so that a transform and its inverse are two files, as in fMRIPrep.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.errors import NoInput
from qsmxt_app.registration.image import RAS_TO_LPS, Affine
from qsmxt_app.registration.transforms import Linear, Step, Transform, Warp, linear

_LINEAR = ("AffineTransform", "MatrixOffsetTransformBase", "Euler3DTransform", "Rigid3DTransform")
_HEADER = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
_FLIP = np.array([-1, -1, 1], dtype=np.float32)
_INVERSION_STEPS = 30


def extension(transform: Transform) -> str:
    """Ending of the file that a transform is saved in: ``.txt`` or ``.h5``."""
    return ".txt" if transform.is_linear else ".h5"


def save_transform(transform: Transform, path: Path) -> Path:
    """Write a transform to a file whose name ends as :func:`extension` says; the same one, the same bytes.

    Raises
    ------
    ValueError
        The file's name ends otherwise.
    """
    if path.suffix != extension(transform):
        raise ValueError(f"{path}: this transform is saved with the ending {extension(transform)}.")
    if transform.is_linear:
        path.write_text(_itk_text(transform.matrix), encoding="ascii")
    else:
        _write_composite(transform, path)
    return path


def load_transform(path: Path, inverse_transform: Path | None = None) -> Transform:
    """Read a transform that :func:`save_transform` or ANTs wrote.

    Parameters
    ----------
    path
        ``.txt`` or ``.h5``.
    inverse_transform
        File of the inverse transform. None: displacement fields are inverted numerically.

    Raises
    ------
    NoInput
        The file does not exist or is not a transform.
    """
    try:
        steps = _read_steps(path, invert=inverse_transform is None)
        if inverse_transform is not None:
            inverses = _read_steps(inverse_transform, invert=False)
            steps = [_paired(step, back) for step, back in zip(steps, reversed(inverses), strict=True)]
    except (OSError, KeyError, ValueError) as error:
        raise NoInput(f"{path}: cannot be read as a transform ({error}).") from error
    return Transform(tuple(steps))


def invert_displacement(displacement: FloatArray, affine: Affine) -> FloatArray:
    """Invert a displacement field by fixed-point iteration.

    Parameters
    ----------
    displacement : ndarray (x, y, z, 3)
        mm along the world's axes; it must not fold.
    affine : ndarray (4, 4)

    Returns
    -------
    ndarray (x, y, z, 3)

    References
    ----------
    Chen M, Lu W, et al. Med Phys 35:81-88 (2008).
    """
    index = np.moveaxis(np.indices(displacement.shape[:3]), 0, -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    forward = Warp(displacement, displacement, affine)
    inverse = np.zeros(points.shape)
    for _ in range(_INVERSION_STEPS):
        there = points + inverse
        inverse = there - forward.map_points(there)
    return np.asarray(inverse, dtype=np.float32)


def _paired(step: Step, back: Step) -> Step:
    if isinstance(step, Warp) and isinstance(back, Warp):
        return Warp(step.displacement, back.displacement, step.affine)
    return step


def _itk_text(matrix: Affine) -> str:
    numbers = " ".join(f"{value:.17g}" for value in _itk_parameters(matrix))
    return f"{_HEADER}Parameters: {numbers}\nFixedParameters: 0 0 0\n"


def _itk_parameters(matrix: Affine) -> NDArray[np.float64]:
    turned = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    return np.concatenate([turned[:3, :3].ravel(), turned[:3, 3]])


def linear_from_itk(parameters: NDArray, centre: NDArray) -> Linear:
    """Matrix of an ITK transform: 9 numbers of the matrix, 3 of the translation, and the fixed centre."""
    turned = np.eye(4)
    turned[:3, :3] = np.reshape(parameters[:9], (3, 3))
    turned[:3, 3] = parameters[9:] + centre - turned[:3, :3] @ centre
    return Linear(RAS_TO_LPS @ turned @ RAS_TO_LPS)


def _write_composite(transform: Transform, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in (
            ("ITKVersion", "5"),
            ("HDFVersion", "1"),
            ("OSName", "any"),
            ("OSVersion", "any"),
        ):
            _write_text(file, name, value)
        _write_text(file, "TransformGroup/0/TransformType", "CompositeTransform_double_3_3")
        # ITK's queue is last in, first out
        for number, step in enumerate(reversed(transform.steps), start=1):
            _write_step(file.create_group(f"TransformGroup/{number}"), step)


def _write_text(group: Any, name: str, text: str) -> None:
    import h5py

    # ITK reads ASCII of variable length and no other kind of text
    group.create_dataset(name, data=[text], dtype=h5py.string_dtype("ascii"))


def _write_step(group: Any, step: Step) -> None:
    if isinstance(step, Linear):
        _write_text(group, "TransformType", "AffineTransform_double_3_3")
        group["TransformFixedParameters"] = np.zeros(3)
        group["TransformParameters"] = _itk_parameters(step.matrix)
        return
    affine = RAS_TO_LPS @ step.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    place = [step.displacement.shape[:3], affine[:3, 3], spacing, (affine[:3, :3] / spacing).ravel()]
    _write_text(group, "TransformType", "DisplacementFieldTransform_double_3_3")
    group["TransformFixedParameters"] = np.concatenate([np.asarray(p, dtype=np.float64) for p in place])
    vectors = (step.displacement * _FLIP).transpose(2, 1, 0, 3).ravel()
    group.create_dataset("TransformParameters", data=vectors, compression="gzip", compression_opts=1)


def _read_steps(path: Path, *, invert: bool) -> list[Step]:
    if path.suffix == ".txt":
        return list(_read_text(path).steps)
    import h5py

    with h5py.File(path, "r") as file:
        group = file["TransformGroup"]
        numbers = sorted(group, key=int, reverse=True)
        present = [group[number] for number in numbers if "TransformParameters" in group[number]]
        return [_read_step(one, invert=invert) for one in present]


def _read_text(path: Path) -> Transform:
    fields = dict(
        line.split(": ", 1) for line in path.read_text(encoding="ascii").splitlines() if ": " in line
    )
    parameters, centre = (np.array(fields[key].split(), float) for key in ("Parameters", "FixedParameters"))
    if not fields["Transform"].startswith(_LINEAR[:2]) or len(parameters) != 12:
        raise ValueError(f"a transform of type {fields['Transform']}, not a matrix")
    return linear(linear_from_itk(parameters, centre).matrix)


def _read_step(group: Any, *, invert: bool) -> Step:
    kind = group["TransformType"][0].decode()
    fixed, parameters = group["TransformFixedParameters"][:], group["TransformParameters"][:]
    if kind.startswith(_LINEAR[:2]):
        return linear_from_itk(parameters, fixed)
    if not kind.startswith("DisplacementFieldTransform"):
        raise ValueError(f"a transform of type {kind}")
    nx, ny, nz = (int(size) for size in fixed[:3])
    affine = np.eye(4)
    affine[:3, :3] = fixed[9:].reshape(3, 3) * fixed[6:9]
    affine[:3, 3] = fixed[3:6]
    stored = parameters.reshape(nz, ny, nx, 3).transpose(2, 1, 0, 3)
    vectors = np.ascontiguousarray(stored, dtype=np.float32) * _FLIP
    affine = RAS_TO_LPS @ affine
    # where the inverse is in a file of its own, it takes this place
    inverse = invert_displacement(vectors, affine) if invert else vectors
    return Warp(vectors, inverse, affine)
