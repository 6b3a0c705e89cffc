"""Which labels chi is reported relative to."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.errors import WrongUsage
from qsmxt_app.segment.regional_values import erode_labels
from qsmxt_app.segment.regions import Region, split_hemisphere
from qsmxt_app.settings.text import nearest

MEANINGS = {"csf": "lateral-ventricle", "ventricle": "lateral-ventricle"}
"""What people say, and the region that they mean by it where there is one."""
SIDES = {"L": "left", "R": "right"}
LEAST_INSIDE = 100
"""Voxels from which on the mean over the inner part of a region is worth more than that over all of it."""


def find_reference(wanted: str, regions: Sequence[Region]) -> tuple[Region, ...]:
    """Find a region by its name or its number.

    Parameters
    ----------
    wanted
        `lateral-ventricle`, `Left-Lateral-Ventricle`, `frontal white matter`, `43`, or `csf` or
        `ventricles`, by which the lateral ones are meant. Without a side both are.
    regions
        Of the labels.

    Raises
    ------
    WrongUsage
        The region was not found.

    Examples
    --------
    >>> sides = [Region(4, "lateral-ventricle", "L"), Region(43, "lateral-ventricle", "R")]
    >>> [region.index for region in find_reference("csf", sides)]
    [4, 43]
    >>> [region.index for region in find_reference("ventricles", sides)]
    [4, 43]
    >>> [region.index for region in find_reference("Right lateral ventricle", sides)]
    [43]
    """
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    name, side = split_hemisphere(wanted)
    for spelled in (MEANINGS.get(_plain(name), name), name):
        found = tuple(
            region
            for region in regions
            if region.index == number
            or (_plain(region.name) == _plain(spelled) and side in ("", region.hemisphere))
        )
        if found:
            return found
    names = dict.fromkeys((*MEANINGS, *(_plain(region.name) for region in regions)))
    raise WrongUsage(
        f"--reference {wanted} is neither a region of the labels nor a mask file.",
        nearest(_plain(name), names),
    )


def described_reference(regions: Sequence[Region]) -> str:
    """Return what tables and sidecars call a region that was found.

    Examples
    --------
    >>> described_reference([Region(43, "lateral-ventricle", "R")])
    'right lateral-ventricle'
    """
    sides = {region.hemisphere for region in regions}
    side = SIDES.get(sides.pop(), "") if len(sides) == 1 else ""
    return f"{side} {regions[0].name}".strip()


def inner_part(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a region without the layer of voxels at its border, where other tissue takes part.

    A region of which too few voxels would be left is returned as it is.
    """
    inside = erode_labels(region.astype(np.uint8), 1) > 0
    return inside if np.count_nonzero(inside) >= LEAST_INSIDE else region


def _plain(name: str) -> str:
    """Spell names alike: `Lateral Ventricles` and `lateral-ventricle`."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())).removesuffix("s")
