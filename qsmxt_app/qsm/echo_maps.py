"""Maps of single echoes: their mean, and how much they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.echo_combination import ECHO_AVERAGES, Average


@dataclass(frozen=True)
class EchoMean:
    """Mean of the maps of single echoes.

    Attributes
    ----------
    mean : ndarray (x, y, z)
        In the unit of the maps.
    spread : ndarray (x, y, z)
        Standard deviation over echoes, each with the weight that it has in the mean.
    """

    mean: FloatArray
    spread: FloatArray


def for_each_echo(function: Callable[..., FloatArray], *maps: FloatArray) -> FloatArray:
    """Apply a function of 3-D maps to each echo of 4-D ones; to 3-D maps just once.

    Parameters
    ----------
    function
        Of as many maps as are given, (x, y, z) each; returns one.
    maps : ndarray (x, y, z) or (x, y, z, echo)
        All of one shape.

    Returns
    -------
    ndarray, shape of the maps
    """
    if maps[0].ndim == 3:
        return function(*maps)
    echoes = range(maps[0].shape[-1])
    return np.stack([function(*(one[..., echo] for one in maps)) for echo in echoes], axis=-1)


def average_echoes(maps: FloatArray, noise: FloatArray, average: Average = "noise") -> EchoMean:
    """Average the maps of single echoes.

    Parameters
    ----------
    maps : ndarray (x, y, z, echo)
        One map an echo.
    noise : ndarray (x, y, z, echo)
        Standard error of each echo's field, in any unit; not finite or not positive where it is not known.
    average
        ``"noise"``: each voxel weighs its echoes by the inverse of the variance of their field, as if what an
        echo shows in a voxel were measured there. ``"plain"``: all echoes weigh the same. An echo whose noise
        is not known weighs nothing, unless no echo's is.

    Returns
    -------
    EchoMean

    Raises
    ------
    ValueError
        If shapes differ or the average is unknown.

    Examples
    --------
    >>> maps, noise = np.float32([[[[1, 3]]]]), np.float32([[[[1, 0.5]]]])
    >>> average_echoes(maps, noise, "plain").mean.item(), average_echoes(maps, noise).mean.item()
    (2.0, 2.5999999046325684)
    """
    if average not in ECHO_AVERAGES:
        raise ValueError(f"average must be one of {', '.join(ECHO_AVERAGES)}, not {average!r}")
    if maps.ndim != 4 or maps.shape != noise.shape:
        raise ValueError(f"the maps {maps.shape} and their noise {noise.shape} differ in shape")
    known = np.isfinite(noise) & (noise > 0)
    weights = known.astype(np.float32)
    if average == "noise":
        np.divide(1, noise, out=weights, where=known)
        weights /= np.maximum(weights.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
        weights *= weights
    weights[~known.any(axis=-1)] = 1
    weights /= weights.sum(axis=-1, keepdims=True)
    mean = (weights * maps).sum(axis=-1)
    spread = np.sqrt((weights * (maps - mean[..., None]) ** 2).sum(axis=-1))
    return EchoMean(mean, spread)
