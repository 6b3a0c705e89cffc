"""The gradient-echo magnitude laid upon the T1w image of the same head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Image, Transform, crop
from qsmxt_app.segment.head_position import FINE_MM, coarser, find_head, similarity_within
from qsmxt_app.segment.prepare import PreparedT1w

Mask = NDArray[np.bool_]

_FAR_MM, _FAR_DEGREES = 15.0, 10.0
_UNLIKE = 1.01


@dataclass(frozen=True)
class Alignment:
    """How a scan lies to a T1w image.

    Attributes
    ----------
    transform : Transform
        Rigid, from the magnitude to the T1w image.
    used
        Whether a registration was better than the headers.
    cost_before, cost_after
        Minus the normalised mutual information of the headers' alignment and of the one that is used.
    warning
        What a person should know, if anything.
    """

    transform: Transform
    used: Literal["registration", "header"]
    cost_before: float
    cost_after: float
    warning: str | None = None


def align_to_t1w(magnitude: Image, mask: Mask, t1w: PreparedT1w) -> Alignment:
    """Register a magnitude image to a T1w image of the same head, rigidly and by mutual information.

    Parameters
    ----------
    magnitude : Image
    mask : ndarray of bool
        On the magnitude's grid, where the head is.
    t1w : PreparedT1w

    Returns
    -------
    Alignment
        The headers' alignment, where no registration is better.
    """
    fixed = coarser(crop(t1w.stripped, t1w.brain, 4.0), FINE_MM)
    brain = fixed.array > 0
    calm = magnitude.with_array(np.minimum(magnitude.array, np.percentile(magnitude.array[mask], 99.5)))
    moving = coarser(calm, FINE_MM)
    points = np.argwhere(mask) @ magnitude.affine[:3, :3].T + magnitude.affine[:3, 3]
    header = Transform()
    found = find_head(fixed, brain, calm, points.mean(0), starts=[header], affine=False)
    before, after = (similarity_within(fixed, moving, t, brain) for t in (header, found))
    if after <= before:
        return Alignment(header, "header", -before, -before, _doubt(before))
    return Alignment(found, "registration", -before, -after, _doubt(after) or _far(found, fixed))


def _doubt(similarity: float) -> str | None:
    if similarity > _UNLIKE:
        return None
    return "The magnitude and the T1w image hardly resemble each other as aligned: look at the labels."


def _far(transform: Transform, fixed: Image) -> str | None:
    middle = (fixed.affine @ [*(np.array(fixed.array.shape) / 2), 1])[:3]
    shift = float(np.linalg.norm(transform.map_points(middle) - middle))
    angle = float(np.degrees(Rotation.from_matrix(transform.matrix[:3, :3]).magnitude()))
    if shift < _FAR_MM and angle < _FAR_DEGREES:
        return None
    return f"The head lies {shift:.0f} mm and {angle:.0f} degrees away from where it lay in the T1w image."
