"""The maps of one scan, as `qsmxt_app.reconstruct` returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app import __version__
from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.errors import CannotCreateOutput
from qsmxt_app.maps import MAPS
from qsmxt_app.tools.images import write_image

_UNITS = {
    "chi": "ppm", "chi_singlepass": "ppm", "chi_echo_spread": "ppm", "total_field": "Hz", "field_noise": "Hz",
}  # fmt: skip
_MASKS = ("mask", "mask_reliable")


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """The maps of one scan.

    Attributes
    ----------
    chi : ndarray (x, y, z)
        Susceptibility relative to its reference, ppm; 0 outside `mask`.
    chi_singlepass : ndarray (x, y, z) or None
        That of the first pass alone, ppm; None with a single one.
    chi_echo_spread : ndarray (x, y, z) or None
        Standard deviation over the maps of single echoes, ppm; None where the field is combined.
    mask, mask_reliable : ndarray (x, y, z), bool
        Where chi is reported, and where the second pass was reconstructed.
    total_field, field_noise : ndarray (x, y, z)
        The fitted field and its standard error, Hz.
    maps
        All other maps by their names in :data:`qsmxt_app.maps.MAPS`: `chi_noise` (ppm), `r2star` (1/s), ...
    affine : ndarray (4, 4)
        Voxel indices to mm.
    settings
        All that the result depends on, by name.
    facts
        What the steps found, by the name of the step.
    warnings
        What a person should check.
    """

    chi: FloatArray
    chi_singlepass: FloatArray | None
    chi_echo_spread: FloatArray | None
    mask: BoolArray
    mask_reliable: BoolArray
    total_field: FloatArray
    field_noise: FloatArray
    maps: Mapping[str, FloatArray]
    affine: NDArray[np.float64]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.chi.shape))
        low, high = np.percentile(self.chi[self.mask], (1, 99))
        others = f", {', '.join(self.maps)}" if self.maps else ""
        checks = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<Reconstruction of {shape} voxels: chi {low:.3f} to {high:.3f} ppm{others}{checks}>"

    def images(self) -> dict[str, tuple[NDArray[Any], str]]:
        """Return all maps and masks by name, each with its unit; masks have none."""
        own = {name: getattr(self, name) for name in (*_UNITS, *_MASKS)}
        units = {name: output.units or "" for step in MAPS.values() for name, output in step.outputs.items()}
        return {
            name: (image, _UNITS.get(name, units.get(name, "")))
            for name, image in {**own, **self.maps}.items()
            if image is not None
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write each map as NIfTI, with a JSON file that tells its unit and how it was made.

        Parameters
        ----------
        folder
            Where they are written; it is made if it does not exist.

        Raises
        ------
        CannotCreateOutput
            If a file cannot be written.
        """
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotCreateOutput(f"{target}: cannot be made ({error.strerror}).") from error
        made = {"Name": "qsmxt", "Version": __version__, "Settings": dict(self.settings)}
        paths = []
        for name, (image, unit) in self.images().items():
            paths.append(target / f"{name}.nii.gz")
            sidecar = {"Units": unit} if unit else {}
            write_image(image, self.affine, paths[-1], {**sidecar, "GeneratedBy": [made]})
        return paths
