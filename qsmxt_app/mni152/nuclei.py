"""Nuclei that no freely licensed atlas of the MNI152 head has, drawn as simple shapes.

The average head itself shows the red nucleus and, around it, the nigra as a band of grey matter: their shapes
follow it. The pallidum is FreeSurfer's, divided by a lamina. All arrays are of voxels of 1 mm.

References
----------
Thorner G, et al. J Hirnforsch 16:401-413 (1975): seven tenths of the pallidum are its external segment.
Keuken MC, et al. NeuroImage 94:40-46 (2014): subthalamic nucleus.
Dimitrova A, et al. NeuroImage 17:240-255 (2002): dentate nucleus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from qsmxt_app.arrays import BoolArray

EXTERNAL_SHARE = 0.7
"""Share of the pallidum that is its external segment (Thorner 1975)."""
_BELOW, _BEHIND = 0.3, 0.2
"""Slope of the lamina: the internal segment lies below and behind the external one, not only beside it."""
_CAPSULES_MM = 2.5
"""Width of claustrum and capsules that FreeSurfer's average putamen covers beside the insula."""
_MIDDLE = {"midbrain": (8.0, -17.0, -11.0), "cerebellum": (15.0, -58.0, -34.0)}
_REACH = {"midbrain": (11.0, 14.0, 11.0), "cerebellum": (12.0, 15.0, 10.0)}
"""mm from the middles that the shapes reach at most."""

Shape = Callable[[NDArray, NDArray, NDArray], NDArray[np.bool_]]


def internal_pallidum(pallidum: BoolArray, putamen: BoolArray, axes: Sequence[NDArray]) -> BoolArray:
    """Return the internal segment: what of the pallidum lies beyond a lamina along the putamen.

    Parameters
    ----------
    pallidum, putamen : ndarray of bool (x, y, z)
        Of one side.
    axes
        World coordinates in mm along x, y and z.
    """
    beyond = distance_transform_edt(~putamen)
    beyond -= _BELOW * axes[2] + _BEHIND * axes[1][:, None]
    return np.asarray(pallidum & (beyond > np.quantile(beyond[pallidum], EXTERNAL_SHARE)))


def beside_insula(putamen: BoolArray, insula: BoolArray) -> BoolArray:
    """Return the part of FreeSurfer's average putamen that is claustrum and capsules in this head."""
    return np.asarray(putamen & (distance_transform_edt(~insula) <= _CAPSULES_MM))


def draw_small_nuclei(
    labels: NDArray,
    axes: Sequence[NDArray],
    numbers: Mapping[str, tuple[int, int]],
    *,
    crumpled: bool = False,
) -> None:
    """Draw nigra, red, subthalamic and dentate nucleus of both sides into an image of labels.

    Parameters
    ----------
    labels : ndarray (x, y, z)
        Changed in place.
    axes
        World coordinates in mm along x, y and z.
    numbers
        Left and right number of each nucleus, by name.
    crumpled
        Whether the dentate nucleus is folded, as it is in people and not in averages.
    """
    shapes: dict[str, tuple[str, Shape]] = {
        "substantia-nigra": ("midbrain", _nigra),
        "red-nucleus": ("midbrain", _red_nucleus),
        "subthalamic-nucleus": ("midbrain", _subthalamic_nucleus),
        "dentate-nucleus": ("cerebellum", _crumpled_dentate if crumpled else _dentate),
    }
    for name, (where, shape) in shapes.items():
        for side, number in zip((-1, 1), numbers[name], strict=True):
            away = (side * axes[0], *axes[1:])
            box = [
                np.flatnonzero(abs(axis - middle) <= reach)
                for axis, middle, reach in zip(away, _MIDDLE[where], _REACH[where], strict=True)
            ]
            x, y, z = np.meshgrid(*(axis[i] for axis, i in zip(away, box, strict=True)), indexing="ij")
            labels[np.ix_(*box)] = np.where(shape(x, y, z), number, labels[np.ix_(*box)])


def _red_nucleus(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    return np.asarray(((x - 5.3) / 3.6) ** 2 + ((y + 20) / 4.3) ** 2 + ((z + 9.8) / 4.9) ** 2 < 1)


def _subthalamic_nucleus(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    return np.asarray(((x - 11) / 4.0) ** 2 + ((y + 13) / 4.5) ** 2 + ((z + 7.5) / 2.5) ** 2 < 1)


def _nigra(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    """A plate bent around the red nucleus, from the front to the side, with the tilt of the midbrain."""
    across, along = x - 4.8 - 0.15 * (z + 12.5), y + 20.5 - 0.3 * (z + 12.5)
    distance, angle = np.hypot(across, along), np.arctan2(along, across)
    thick, wide, high = (distance - 7.9) / 2.6, 7.9 * (angle - np.radians(31)) / 10.0, (z + 13.8) / 5.3
    return np.asarray(thick**2 + wide**2 + high**2 < 1)


def _dentate(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    """A shell, open towards the midline and above."""
    return np.asarray((abs(_dentate_radius(x, y, z) - 0.85) < 0.2) & (z + 34 < 3.5))


def _crumpled_dentate(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    u, v, w = x - 15, y + 58, z + 34
    crumple = 0.10 * np.sin(1.3 * u + 0.4 * w) * np.cos(1.1 * v) + 0.06 * np.sin(1.5 * w)
    return np.asarray((abs(_dentate_radius(x, y, z) - 0.85 - crumple) < 0.17) & (w < 3.5))


def _dentate_radius(x: NDArray, y: NDArray, z: NDArray) -> NDArray:
    return np.sqrt(((x - 15) / 8.0) ** 2 + ((y + 58) / 10.5) ** 2 + ((z + 34) / 7.0) ** 2)
