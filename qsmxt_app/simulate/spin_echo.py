"""Multi-echo spin-echo images of a simulated person, from which R2 is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.geometry import VIEW_CENTRE, scan_grid
from qsmxt_app.simulate.person import Anatomy, make_person
from qsmxt_app.simulate.signal import polynomials
from qsmxt_app.simulate.sources import tissue_r2
from qsmxt_app.simulate.tissues import TISSUES

REPETITION_TIME = 3.0
ECHO_TIMES = tuple(round(0.01 * n, 3) for n in range(1, 9))
FIRST_ECHO = 0.92
"""Signal of the first echo, relative to the decay of the others: it has no stimulated echo in it."""
_SNR = 80.0


@dataclass(frozen=True)
class SpinEchoes:
    """Images of a multi-echo spin-echo scan.

    Attributes
    ----------
    images : ndarray (x, y, z, echo)
    affine : ndarray (4, 4)
        From voxels to scanner coordinates in mm.
    """

    images: FloatArray
    affine: NDArray[np.float64]


def simulate_spin_echoes(
    seed: int,
    index: int,
    *,
    voxel_size: tuple[float, float, float],
    field_strength: float = 3.0,
    anatomy: Anatomy = "basic",
) -> SpinEchoes:
    """Simulate the spin-echo scan of a person who has moved a little since the gradient echoes.

    Parameters
    ----------
    seed, index, anatomy
        As for :func:`~qsmxt_app.simulate.subject.simulate_subject`.
    voxel_size
        mm.
    field_strength
        T.
    """
    rng = np.random.default_rng([seed, index, 9])
    back = np.eye(4)
    back[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-2, 2, 3), degrees=True).as_matrix()
    back[:3, 3] = VIEW_CENTRE - back[:3, :3] @ VIEW_CENTRE + rng.uniform(-1.5, 1.5, 3)
    grid = scan_grid(voxel_size, (0, 0, 1))
    tissue, _, brain = sample_anatomy(
        make_person(seed, index, anatomy),
        back[:3, :3] @ grid.fine_origin + back[:3, 3],
        back[:3, :3] @ grid.fine_steps,
        grid.fine_shape,
    )
    r2 = tissue_r2(field_strength)
    density = np.array([one.proton_density for one in TISSUES])
    recovered = density * (1 - np.exp(-REPETITION_TIME / np.array([one.t1 for one in TISSUES])))
    parts = [n for axis, s in zip(grid.shape, grid.subdivision, strict=True) for n in (axis, s)]
    images = np.empty((*grid.shape, len(ECHO_TIMES)), np.float32)
    for echo, time in enumerate(ECHO_TIMES):
        signal = (recovered * np.exp(-time * r2)).astype(np.float32) * (1 if echo else FIRST_ECHO)
        images[..., echo] = signal.astype(np.float32)[tissue].reshape(parts).mean(axis=(1, 3, 5))
    level = images[..., 0][brain.reshape(parts).mean(axis=(1, 3, 5)) > 0.5].mean()
    bias = np.array([1.0, *rng.normal(0, 0.06, 3), *rng.normal(0, 0.03, 3), *rng.uniform(0.03, 0.08, 3)])
    images *= polynomials(grid.shape, bias.astype(np.float32))[..., None]
    noise = np.float32(level / _SNR) * rng.standard_normal((2, *images.shape), dtype=np.float32)
    images = np.hypot(images + noise[0], noise[1])
    return SpinEchoes((images * (1000 / level)).astype(np.float32), grid.affine)
