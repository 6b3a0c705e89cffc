"""Clusters of significant voxels, with the regions that they lie in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from qsmxt_app.arrays import FloatArray, LabelArray
from qsmxt_app.group.csv_text import tsv_cell

SIGNIFICANT = 0.05
MOST_REGIONS, LEAST_SHARE = 4, 0.05
"""Regions that are named for a cluster, and the share of it that they hold at least."""
UNLABELLED = "unlabelled"
COLUMNS = {
    "term": "Coefficient of the model",
    "cluster": "Number of the cluster, the most significant of the term first",
    "volume_mm3": "Volume",
    "p": "Smallest p of its voxels, family-wise corrected over voxels by permutations (TFCE)",
    "peak_t": "t at the voxel with that p and the largest t",
    "peak_effect": "Estimate there, in the units of the map",
    "mean_effect": "Mean of the estimates over the cluster; its voxels were selected by their size",
    "x": "Place of that voxel, mm",
    "y": "Place of that voxel, mm",
    "z": "Place of that voxel, mm",
    "peak_region": "Region of the template at that voxel",
    "regions": "Regions of the template with their share of the cluster",
}


@dataclass(frozen=True)
class Cluster:
    """Significant voxels of one sign that touch; `regions` with the share of the cluster that lies there."""

    volume_mm3: float
    p: float
    peak_t: float
    peak_effect: float
    mean_effect: float
    peak_mm: tuple[float, float, float]
    peak_region: str
    regions: Mapping[str, float]


def find_clusters(
    t: FloatArray,
    p: FloatArray,
    effect: FloatArray,
    labels: LabelArray,
    names: Mapping[int, str],
    affine: NDArray[np.float64],
) -> list[Cluster]:
    """Find clusters, the most significant first.

    Parameters
    ----------
    t, p, effect : ndarray (x, y, z)
        Statistic, corrected p and estimate.
    labels : ndarray of int (x, y, z)
        Regions; 0 for none.
    names
        Of the labels.
    affine : ndarray (4, 4)
        Of all.
    """
    found = []
    for sign in (1, -1):
        numbers, count = label((p < SIGNIFICANT) & (sign * t > 0), generate_binary_structure(3, 1))
        for number in range(1, count + 1):
            places = np.argwhere(numbers == number)
            found.append(_cluster(places, t, p, effect, labels, names, affine))
    return sorted(found, key=lambda one: (one.p, -abs(one.peak_t)))


def _cluster(
    places: NDArray[np.intp],
    t: FloatArray,
    p: FloatArray,
    effect: FloatArray,
    labels: LabelArray,
    names: Mapping[int, str],
    affine: NDArray[np.float64],
) -> Cluster:
    voxels = tuple(places.T)
    peak = np.lexsort((-np.abs(t[voxels]), p[voxels]))[0]
    at = tuple(places[peak])
    x, y, z = (affine @ [*places[peak], 1.0])[:3].tolist()
    inside, counts = np.unique(labels[voxels], return_counts=True)
    shares = {
        _name(int(one), names): float(count) / len(places) for one, count in zip(inside, counts, strict=True)
    }
    named = sorted(shares.items(), key=lambda one: -one[1])[:MOST_REGIONS]
    return Cluster(
        len(places) * abs(float(np.linalg.det(affine[:3, :3]))),
        float(p[at]),
        float(t[at]),
        float(effect[at]),
        float(effect[voxels].mean()),
        (x, y, z),
        _name(int(labels[at]), names),
        {name: share for name, share in named if share >= LEAST_SHARE},
    )


def _name(number: int, names: Mapping[int, str]) -> str:
    return names.get(number, f"label {number}") if number else UNLABELLED


def clusters_tsv(clusters: Mapping[str, Sequence[Cluster]]) -> str:
    """Return the table of clusters, by term."""
    rows = ["\t".join(COLUMNS)]
    for term, found in clusters.items():
        rows += ["\t".join(map(tsv_cell, _cells(term, number, one))) for number, one in enumerate(found, 1)]
    return "\n".join(rows) + "\n"


def _cells(term: str, number: int, one: Cluster) -> Iterator[object]:
    regions = "; ".join(f"{name} {share:.0%}" for name, share in one.regions.items())
    yield from (term, number, one.volume_mm3, one.p, one.peak_t, one.peak_effect, one.mean_effect)
    yield from (*one.peak_mm, one.peak_region, regions)
