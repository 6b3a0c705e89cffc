"""The box around a mask in which fields are convolved: cropped, padded, with its dipole kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import FIELD_MODEL_ERROR
from qsmxt_app.qsm.dipole import dipole_kernel

_NOISE_SCALE = 0.0014
"""Noise of a field in ppm that the inversions regularise as it stands."""


def check_field(
    field: NDArray,
    mask: NDArray,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float] | None = None,
    weights: NDArray | None = None,
) -> None:
    """Refuse arrays and geometry that no field can be computed from.

    Raises
    ------
    ValueError
        If the field is not 3D, shapes differ, the mask is empty, a value inside the mask is not finite, a
        weight is negative or all are zero, a voxel edge is not positive or B0 is not a unit vector.
    """
    if field.ndim != 3:
        raise ValueError(f"the field must have 3 dimensions, not {field.ndim}")
    if mask.shape != field.shape:
        raise ValueError(f"the mask {mask.shape} and the field {field.shape} differ in shape")
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        raise ValueError("the mask is empty")
    if not np.isfinite(field[inside]).all():
        raise ValueError("the field is not finite everywhere inside the mask")
    if len(voxel_size) != 3 or not all(np.isfinite(h) and h > 0 for h in voxel_size):
        raise ValueError(f"the voxel size must be three positive numbers in mm, not {tuple(voxel_size)}")
    if b0_direction is not None and (
        len(b0_direction) != 3 or not abs(float(np.linalg.norm(b0_direction)) - 1) < 1e-3
    ):
        raise ValueError(f"the direction of B0 must be a unit vector, not {tuple(b0_direction)}")
    if weights is not None:
        if weights.shape != field.shape:
            raise ValueError(f"the weights {weights.shape} and the field {field.shape} differ in shape")
        values = weights[inside]
        if not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
            raise ValueError("the weights must be finite, not negative, and not all zero inside the mask")


def check_positive(**parameters: float) -> None:
    """Refuse parameters that are not positive.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    for name, value in parameters.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, not {value}")


def normalised_weights(weights: NDArray | None, mask: BoolArray) -> FloatArray:
    """Weights with a mean of 1 over the mask and 0 outside; uniform where none are given."""
    if weights is None:
        return mask.astype(np.float32)
    inside = np.where(mask, weights, 0).astype(np.float64)
    return np.asarray(inside / inside[mask].mean(), dtype=np.float32)


def field_weights(field_noise: NDArray, model_error: float = 0.003) -> FloatArray:
    """Weights of a field whose model is not perfect either.

    Inverse noise variance alone trusts quiet voxels far more than partial volume and dephasing warrant, and
    all but drops veins, bleeds and calcifications, where the signal is short and chi is largest.

    Parameters
    ----------
    field_noise : ndarray (x, y, z)
        Standard error of the field in ppm.
    model_error
        Error in ppm of what a voxelwise model predicts, in quadrature.

    Returns
    -------
    ndarray (x, y, z)
        ``1 / (field_noise^2 + model_error^2)`` in 1/ppm^2.

    Raises
    ------
    ValueError
        If the model error is not positive.
    """
    if not model_error > 0:
        raise ValueError(f"the model error must be positive, not {model_error} ppm")
    return np.asarray(1 / (field_noise.astype(np.float64) ** 2 + model_error**2), dtype=np.float32)


def regularising_noise(field_noise: NDArray, mask: NDArray) -> float:
    """Error of a field by which the inversions regularise it.

    Their regularisation goes with the square of the error they are told. The best one grows with the
    standard deviation of the noise and not with its square, as for TGV-QSM (which has the reference): so
    this is the geometric mean of the noise and a constant, found at 2 mm and noise of 0.7, 1.4 and 2.9 ppb.
    In more noise it lowers nuclei (by an eighth at 11 ppb, 3 mm), but regularisation that stops to grow at
    3 ppb left errors of 145 % where it leaves 90 % (11 ppb), and of 300 % for 150 % (22 ppb).

    Parameters
    ----------
    field_noise : ndarray (x, y, z)
        Standard error of the field in ppm.
    mask : ndarray of bool (x, y, z)
        Where its median is taken; no less than `FIELD_MODEL_ERROR` counts.

    Returns
    -------
    float
        ppm.
    """
    noise = float(np.hypot(np.median(field_noise[mask]), FIELD_MODEL_ERROR))
    return float(np.sqrt(_NOISE_SCALE * noise))


class PaddedGrid:
    """Box of a mask, padded on all sides to a size that is good for the FFT.

    Parameters
    ----------
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    margin
        Least distance in mm from the mask to the border of the box. The FFT is periodic: sources act on the
        other side too, from twice this distance.
    threads
        Threads of the FFT, all where not given.

    Attributes
    ----------
    shape : tuple of int
        Shape of the box.
    mask : ndarray of bool
        The mask in the box.
    """

    def __init__(
        self, mask: BoolArray, voxel_size: Sequence[float], margin: float, threads: int | None = None
    ) -> None:
        self.voxel_size = tuple(float(h) for h in voxel_size)
        self._full_shape = mask.shape
        self._workers = threads or -1
        outer, inner, shape = [], [], []
        for axis, edge in enumerate(self.voxel_size):
            used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
            first, extent = int(used[0]), int(used[-1]) + 1 - int(used[0])
            padding = int(np.ceil(margin / edge))
            length = scipy.fft.next_fast_len(extent + 2 * padding, real=True)
            before = (length - extent) // 2
            outer.append(slice(first, first + extent))
            inner.append(slice(before, before + extent))
            shape.append(length)
        self._outer, self._inner = tuple(outer), tuple(inner)
        self.shape = (shape[0], shape[1], shape[2])
        self.mask = self.embed(mask) > 0

    def embed(self, volume: NDArray) -> FloatArray:
        """Copy a volume into the box; what lies outside it is dropped, the padding is 0."""
        box = np.zeros(self.shape, dtype=np.float32)
        box[self._inner] = volume[self._outer]
        return box

    def embed_masked(self, volume: NDArray) -> FloatArray:
        """Copy the part of a volume that is inside the mask into the box, 0 elsewhere."""
        return np.where(self.mask, self.embed(volume), np.float32(0))

    def extract(self, box: NDArray, mask: BoolArray | None = None) -> FloatArray:
        """Copy the box back into a volume of the original shape, 0 outside the mask (of the box)."""
        volume = np.zeros(self._full_shape, dtype=np.float32)
        volume[self._outer] = np.where(self.mask if mask is None else mask, box, 0)[self._inner]
        return volume

    def forward(self, box: FloatArray) -> NDArray[np.complex64]:
        """Real FFT."""
        return np.asarray(scipy.fft.rfftn(box, workers=self._workers))

    def backward(self, spectrum: NDArray[np.complex64]) -> FloatArray:
        """Inverse of :meth:`forward`; the spectrum is used up."""
        return np.asarray(
            scipy.fft.irfftn(spectrum, s=self.shape, workers=self._workers, overwrite_x=True), np.float32
        )

    def convolve(self, box: FloatArray, kernel: NDArray) -> FloatArray:
        """Convolve with a kernel given in k-space."""
        spectrum = self.forward(box)
        spectrum *= kernel
        return self.backward(spectrum)

    def dipole_kernel(self, b0_direction: Sequence[float]) -> FloatArray:
        """The unit dipole on this box."""
        return dipole_kernel(self.shape, self.voxel_size, b0_direction)

    def squared_gradient(self) -> FloatArray:
        """Minus the Laplacian of periodic forward differences in k-space, 1/mm^2."""
        terms = []
        for axis, (n, edge) in enumerate(zip(self.shape, self.voxel_size, strict=True)):
            frequency = scipy.fft.rfftfreq(n) if axis == 2 else scipy.fft.fftfreq(n)
            term = (2 - 2 * np.cos(2 * np.pi * frequency)) / edge**2
            terms.append(term.reshape([-1 if other == axis else 1 for other in range(3)]))
        return np.asarray(terms[0] + terms[1] + terms[2], dtype=np.float32)


def in_box(
    grid: PaddedGrid, field: NDArray, mask: BoolArray, weights: NDArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return a field inside the mask, and its weights of mean 1, in the box of the mask."""
    return grid.embed_masked(field), grid.embed(normalised_weights(weights, mask))
