"""Registration of the gradient-echo magnitude to the T1w image of the same head.

Mutual information finds the head, however it was rotated in between. It does not say where exactly: shading,
which the magnitude has and the T1w image has no more, pulls its maximum away by a millimetre and more. Local
correlation does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import BoolArray
from qsmxt_app.registration import Image, Transform, apply, crop
from qsmxt_app.registration.resample import coarser, without_shear
from qsmxt_app.registration.rigid import local_correlation, refine_rigid
from qsmxt_app.segment.head_position import FINE_MM, find_head, similarity_within
from qsmxt_app.segment.prepare import PreparedT1w

_FAR_MM, _FAR_DEGREES = 15.0, 10.0
_UNLIKE = 1.01
_RIM_MM = 6.0
_BETTER = 1e-3
"""Local correlation that a registration must gain over the headers: it errs by a little itself."""


@dataclass(frozen=True)
class Alignment:
    """Registration of a scan to a T1w image.

    Attributes
    ----------
    transform : Transform
        Rigid, from the magnitude to the T1w image.
    used
        Whether a registration was better than the headers, by local correlation.
    cost_before, cost_after
        Minus the normalised mutual information of the headers' alignment and of the one that is used.
    warning
        Warning for the report, if any.
    """

    transform: Transform
    used: Literal["registration", "header"]
    cost_before: float
    cost_after: float
    warning: str | None = None


def align_to_t1w(magnitude: Image, mask: BoolArray, t1w: PreparedT1w) -> Alignment:
    """Register a magnitude image to a T1w image of the same head, rigidly.

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
    fixed = coarser(crop(t1w.t1w, t1w.brain, _RIM_MM), FINE_MM)
    brain = apply(t1w.t1w.with_array(t1w.brain.astype(np.float32)), fixed.grid).array > 0.5
    bright = np.percentile(magnitude.array[mask], 99.5)
    calm = without_shear(magnitude.with_array(np.minimum(magnitude.array, bright)))
    moving = coarser(calm, FINE_MM)
    points = np.argwhere(mask) @ magnitude.affine[:3, :3].T + magnitude.affine[:3, 3]
    header = Transform()
    bare = fixed.with_array(np.where(brain, fixed.array, np.float32(0)))
    found = find_head(bare, brain, calm, points.mean(0), starts=[header], affine=False)
    candidates = [header, *(refine_rigid(fixed, moving, brain, start) for start in (header, found))]
    alike = [local_correlation(fixed, moving, brain, t) for t in candidates]
    best = candidates[int(np.argmax(alike))]
    before, after = (similarity_within(fixed, moving, t, brain) for t in (header, best))
    if max(alike) < alike[0] + _BETTER:
        return Alignment(header, "header", -before, -before, _doubt(before))
    return Alignment(best, "registration", -before, -after, _doubt(after) or _moved_far(best, fixed))


def _doubt(similarity: float) -> str | None:
    if similarity > _UNLIKE:
        return None
    return "The magnitude and the T1w image are poorly aligned: check the labels."


def _moved_far(transform: Transform, fixed: Image) -> str | None:
    middle = (fixed.affine @ [*(np.array(fixed.array.shape) / 2), 1])[:3]
    shift = float(np.linalg.norm(transform.map_points(middle) - middle))
    angle = float(np.degrees(Rotation.from_matrix(transform.matrix[:3, :3]).magnitude()))
    if shift < _FAR_MM and angle < _FAR_DEGREES:
        return None
    return f"The head moved by {shift:.0f} mm and {angle:.0f} degrees between the T1w image and this scan."
