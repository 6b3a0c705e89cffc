"""Registration, transforms and resampling.

antspyx need not be installed: it is imported by :mod:`qsmxt_app.registration.library` alone, for SyN.
"""

from qsmxt_app.registration.image import Grid, Image, crop
from qsmxt_app.registration.label_resampling import resample_labels
from qsmxt_app.registration.resample import ResampledLabels, apply
from qsmxt_app.registration.transform_files import extension, load_transform, save_transform
from qsmxt_app.registration.transforms import Linear, Transform, Warp, linear

__all__ = [
    "Grid", "Image", "Linear", "ResampledLabels", "Transform", "Warp",
    "apply", "crop", "extension", "linear", "load_transform", "resample_labels", "save_transform",
]  # fmt: skip
