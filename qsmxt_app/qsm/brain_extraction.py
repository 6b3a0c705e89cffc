"""Brain extraction for those who want a mask of the brain and nothing else.

The library is `brainextractor` (MIT licence, pure Python and numba), an implementation of BET. It is optional
(``pip install "qsmxt-app[bet]"``). Others were looked at: deepbet, HD-BET and antspynet need a deep-learning
framework and weights that are downloaded at run time; itk-skullstripping registers an atlas of T1w images;
the morphological masks of antspyx (`ants.get_mask`) are what :mod:`qsmxt_app.qsm.masking` does with its
`separation_mm`. The library shows no figures unless asked to, so no display is needed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.morphology import keep_components

GRID_MM = 2.0
"""The library assumes isotropic voxels; a surface with edges of about 4 mm gains nothing from finer ones."""

MARGIN_MM = 30.0
"""Space around the image: the library reads along surface normals without looking where the image ends."""


def brain_extraction(
    magnitude: FloatArray,
    *,
    voxel_size: Sequence[float],
    fractional_intensity: float = 0.5,
    iterations: int = 300,
) -> BoolArray:
    """Mask of the brain by BET, a surface that grows until it meets what is darker than brain.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        Magnitude of a head, all echoes combined, in any unit.
    voxel_size
        Voxel edges in mm.
    fractional_intensity
        Between 0 and 1; lower values give a larger brain. On gradient echoes of short echo time the surface
        takes in parts of the face too, whatever the value: combine it with a threshold (`within` of
        :func:`qsmxt_app.qsm.masking.build_masks`).
    iterations
        Steps of the surface. It goes on growing into the neck and face after it has filled the brain.

    Returns
    -------
    ndarray (x, y, z), bool
        Mask of the brain.

    Raises
    ------
    ValueError
        If the library is not installed, the magnitude is empty or no volume, or no brain is found.

    References
    ----------
    Smith SM. Fast robust automated brain extraction. Hum Brain Mapp 17:143-155 (2002).
    """
    try:
        from brainextractor import BrainExtractor
    except ImportError as error:
        raise ValueError(
            'BET needs the package brainextractor: pip install "qsmxt-app[bet]", or choose a threshold'
        ) from error
    if magnitude.ndim != 3 or not np.any(magnitude):
        raise ValueError(
            f"brain extraction needs a magnitude volume with signal, not shape {magnitude.shape}"
        )
    if not 0 < fractional_intensity < 1:
        raise ValueError(
            f"the fractional intensity of BET lies between 0 and 1, not at {fractional_intensity}"
        )
    image = np.asarray(magnitude, dtype=np.float32)
    image = image / smooth_level(image, voxel_size)
    scale = np.asarray(voxel_size, dtype=float) / GRID_MM
    margin = round(MARGIN_MM / GRID_MM)
    isotropic = ndimage.zoom(image, scale, order=1, grid_mode=True, mode="nearest")
    # padding with the darkest values of the image keeps its lower quantile, which BET takes for background
    padded = np.pad(isotropic, margin, constant_values=float(np.percentile(isotropic, 2)))
    share = isotropic.size / padded.size
    with contextlib.redirect_stdout(io.StringIO()):
        extractor = BrainExtractor(
            nibabel.Nifti1Image(padded, np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])),
            t98t=1 - 0.02 * share,
            bt=fractional_intensity,
        )
        extractor.run(iterations=iterations)
        surface = extractor.compute_mask() > 0
    inner = surface[tuple(slice(margin, margin + n) for n in isotropic.shape)].astype(np.float32)
    factors = [n / m for n, m in zip(image.shape, inner.shape, strict=True)]
    brain = ndimage.zoom(inner, factors, order=1, grid_mode=True, mode="nearest") > 0.5
    if not brain.any():
        raise ValueError(
            "BET found no brain in the magnitude: lower the fractional intensity or use another mask"
        )
    return keep_components(brain)
