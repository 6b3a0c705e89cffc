"""The T1-weighted image of a simulated person, scanned after the head has moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.geometry import VIEW_CENTRE, scan_grid
from qsmxt_app.simulate.person import Anatomy, Person, make_person
from qsmxt_app.simulate.signal import polynomials
from qsmxt_app.simulate.tissues import inversion_recovery_amplitude

INVERSION_TIME, REPETITION_TIME = 0.9, 2.3
_EXTENT = np.array([192.0, 248.0, 216.0])
_SNR = 60.0


@dataclass(frozen=True)
class StructuralImage:
    """T1-weighted image and where the head lay.

    Attributes
    ----------
    image : ndarray (x, y, z)
    affine : ndarray (4, 4)
        From voxels to scanner coordinates in mm.
    motion : ndarray (4, 4)
        Takes a point of the head during the gradient echo to its place during this scan, in scanner
        coordinates.
    """

    image: FloatArray
    affine: NDArray[np.float64]
    motion: NDArray[np.float64]


def simulate_t1w(
    seed: int = 0,
    index: int = 1,
    *,
    voxel_size: float = 1.0,
    anatomy: Anatomy = "basic",
    person: Person | None = None,
) -> StructuralImage:
    """Simulate the T1-weighted scan of a person.

    Parameters
    ----------
    seed, index, anatomy, person
        As for :func:`~qsmxt_app.simulate.subject.simulate_subject`.
    voxel_size
        mm.
    """
    rng = np.random.default_rng([seed, index, 3])
    motion = _motion(rng)
    grid = scan_grid([voxel_size] * 3, (0, 0, 1), extent=_EXTENT)
    still = np.linalg.inv(motion)  # voxels are looked up where the head was during the gradient echo
    amplitude = inversion_recovery_amplitude(INVERSION_TIME, REPETITION_TIME)
    image = np.zeros(grid.shape, dtype=np.float32)
    subdivision, person = grid.subdivision, person or make_person(seed, index, anatomy)
    for offset in np.ndindex(*subdivision):
        centre = (np.array(offset) + 0.5) / subdivision - 0.5
        origin = grid.affine[:3, 3] + grid.affine[:3, :3] @ centre
        tissue, _, _ = sample_anatomy(
            person, still[:3, :3] @ origin + still[:3, 3], still[:3, :3] @ grid.affine[:3, :3], grid.shape
        )
        image += amplitude[tissue]
    image /= np.prod(subdivision)
    bias = np.array(
        [1.0, *rng.normal(0, 0.08, 3), *rng.normal(0, 0.04, 3), *(0.05 + rng.uniform(0, 0.06, 3))]
    )
    image *= polynomials(grid.shape, bias.astype(np.float32))
    sigma = np.float32(amplitude.max() * 0.7 / _SNR)
    noise = rng.standard_normal((2, *grid.shape), dtype=np.float32)
    image = np.hypot(image + sigma * noise[0], sigma * noise[1])
    return StructuralImage((1000 * image).astype(np.float32), grid.affine, motion)


def _motion(rng: np.random.Generator) -> NDArray[np.float64]:
    """Rigid motion about the middle of the view: some degrees and millimetres."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
    motion[:3, 3] = VIEW_CENTRE - motion[:3, :3] @ VIEW_CENTRE + rng.uniform(-6, 6, 3)
    return motion
