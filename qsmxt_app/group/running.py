"""Averages of any number of images in the memory of a few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray


class RunningStatistics:
    """Mean, standard deviation and count in every voxel, of images that are given one after the other.

    The update is that of Welford (1962, Technometrics 4(3):419), so that nothing is lost to cancellation
    and memory does not depend on the number of images.

    Parameters
    ----------
    shape
        Of the images.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = np.zeros(shape, dtype=np.int32)
        self._mean = np.zeros(shape, dtype=np.float64)
        self._squares = np.zeros(shape, dtype=np.float64)

    def add(self, image: NDArray, inside: NDArray[np.bool_] | None = None) -> None:
        """Take in one image.

        Parameters
        ----------
        image : ndarray
            Of the given shape.
        inside : ndarray of bool, optional
            Where the image is known; by default everywhere. What is not finite never counts.

        Raises
        ------
        ValueError
            An array of another shape.
        """
        if image.shape != self.count.shape:
            raise ValueError(f"an image of shape {image.shape} cannot be averaged over {self.count.shape}")
        known = np.isfinite(image) if inside is None else np.isfinite(image) & inside
        self.count += known
        values = image[known].astype(np.float64)
        before = self._mean[known]
        after = before + (values - before) / self.count[known]
        self._mean[known] = after
        self._squares[known] += (values - before) * (values - after)

    @property
    def mean(self) -> FloatArray:
        """Mean where anything was counted, 0 elsewhere."""
        return self._mean.astype(np.float32)

    @property
    def std(self) -> FloatArray:
        """Standard deviation with n - 1 degrees of freedom; 0 where fewer than two images were counted."""
        freedom = np.maximum(self.count - 1, 1)
        return np.asarray(np.sqrt(self._squares / freedom), dtype=np.float32)


def masked_mean(
    images: list[tuple[NDArray, NDArray[np.bool_]]],
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Average the scans of one participant, each where it is known.

    Parameters
    ----------
    images
        Image, and where it is known.

    Returns
    -------
    tuple of ndarray
        The mean, 0 where nothing is known, and where anything is known.
    """
    statistics = RunningStatistics(images[0][0].shape)
    for image, inside in images:
        statistics.add(image, inside)
    return statistics.mean, statistics.count > 0
