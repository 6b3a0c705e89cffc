"""A linear model of every voxel of the template, tested by permutations with threshold-free clusters."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import FloatArray
from qsmxt_app.errors import UnusableData
from qsmxt_app.group.statistics.design import Design, full_rank
from qsmxt_app.registration.image import bounding_box

SIGMAS_PER_FWHM = 1 / np.sqrt(8 * np.log(2))
FEWEST_PERMUTATIONS = 20
"""Fewer cannot give p below .05."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class VoxelDesign:
    """A model of participants.

    Attributes
    ----------
    people
        `participant_id` of each row.
    effects
        Names of all columns but the first, which is the intercept.
    matrix : ndarray (people, 1 + effects)
    """

    people: tuple[str, ...]
    effects: tuple[str, ...]
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Permuted:
    """One effect: t and TFCE of every voxel, and the largest TFCE of each permutation."""

    t: FloatArray
    tfce: FloatArray
    largest: FloatArray


def design_of_participants(design: Design, people: set[str]) -> VoxelDesign:
    """Return the design with one row for each participant, whose scans are averaged.

    Parameters
    ----------
    design
        With one row a scan.
    people
        Participants that have a map in the template.

    Raises
    ------
    UnusableData
        A group differs between the scans of a participant, or too few participants are left.
    """
    names = tuple(sorted(people & set(design.participants)))
    rows = {name: [one == name for one in design.participants] for name in names}
    groups = [False, *(effect.between_groups for effect in design.effects)]
    for name, own in rows.items():
        if np.ptp(design.matrix[own][:, groups], axis=0).any():
            raise UnusableData(
                f"--model-voxelwise: scans of {name} belong to different groups of '{design.formula.text}'.",
                "Voxels are compared between participants: leave out what differs between their scans.",
            )
    matrix = np.array([design.matrix[own].mean(axis=0) for own in rows.values()])
    if len(names) <= design.matrix.shape[1] or not full_rank(matrix):
        raise UnusableData(
            f"--model-voxelwise: {len(names)} participants with maps in the template do not determine "
            f"'{design.formula.text}'."
        )
    return VoxelDesign(names, tuple(effect.name for effect in design.effects), matrix)


def smooth_inside(values: FloatArray, inside: Mask, fwhm: float, voxel_size: tuple[float, ...]) -> FloatArray:
    """Smooth a map by a Gaussian without what lies outside of it.

    Parameters
    ----------
    values : ndarray (x, y, z)
    inside : ndarray of bool (x, y, z)
        Where the map is known.
    fwhm
        Full width at half maximum, mm; 0 for none.
    voxel_size
        mm.

    Returns
    -------
    ndarray
        0 outside.
    """
    sigma = [fwhm * SIGMAS_PER_FWHM / edge for edge in voxel_size]
    weights = gaussian_filter(inside.astype(np.float32), sigma)
    smooth = gaussian_filter(np.where(inside, values, 0).astype(np.float32), sigma)
    return np.where(inside, smooth / np.maximum(weights, np.float32(1e-6)), 0).astype(np.float32)


def step_of(fwhm: float, voxel_size: tuple[float, ...]) -> tuple[int, int, int]:
    """Return of how many voxels one is tested: a smoothed map is described by two a full width.

    Examples
    --------
    >>> step_of(4.0, (1.0, 1.0, 2.5)), step_of(0.0, (1.0, 1.0, 1.0))
    ((2, 2, 1), (1, 1, 1))
    """
    x, y, z = (max(1, int(fwhm / 2 / edge + 1e-3)) for edge in voxel_size[:3])
    return x, y, z


def permute(
    matrix: NDArray[np.float64], column: int, values: FloatArray, mask: Mask, permutations: int, seed: int
) -> Permuted:
    """Test one effect by permutations, the others being nuisance (Freedman and Lane 1983; Winkler 2014).

    Clusters are enhanced without a threshold (TFCE; Smith and Nichols 2009), two-sided.

    Parameters
    ----------
    matrix : ndarray (people, parameters)
        With the intercept.
    column
        Of the effect.
    values : ndarray (people, voxels)
        Of the voxels of `mask`, in C order.
    mask : ndarray of bool (x, y, z)
    permutations, seed
        The same seed gives the same permutations.
    """
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    box = bounding_box(mask, [1.0, 1.0, 1.0])
    image = nib.nifti1.Nifti1Image(mask[box].astype(np.uint8), np.eye(4))
    found = permuted_ols(
        matrix[:, [column]],
        values,
        confounding_vars=np.delete(matrix, column, axis=1),
        model_intercept=False,
        n_perm=permutations,
        two_sided_test=True,
        random_state=seed,
        masker=NiftiMasker(image, standardize=False).fit(),
        tfce=True,
        output_type="dict",
    )
    t, tfce, largest = (np.asarray(found[name])[0] for name in ("t", "tfce", "h0_max_tfce"))
    return Permuted(t.astype(np.float32), tfce.astype(np.float32), largest.astype(np.float32))


def corrected_p(tfce: FloatArray, largest: FloatArray) -> FloatArray:
    """Return p of each voxel, family-wise corrected: the share of permutations with such a TFCE anywhere.

    The data themselves count as one permutation, so that p is never 0 (Phipson and Smyth 2010).

    Examples
    --------
    >>> corrected_p(np.float32([5, -5, 0.5]), np.float32([1, 2, 3])).tolist()
    [0.25, 0.25, 1.0]
    """
    ordered = np.sort(largest)
    as_large = ordered.size - np.searchsorted(ordered, np.abs(tfce), side="left")
    return ((1 + as_large) / (1 + ordered.size)).astype(np.float32)


def effect_map(matrix: NDArray[np.float64], column: int, values: FloatArray) -> FloatArray:
    """Return the estimate of one effect in every voxel by least squares, in the units of the map."""
    weights = np.linalg.pinv(matrix)[column]
    return np.asarray(weights @ values, dtype=np.float32)
