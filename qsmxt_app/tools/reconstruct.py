"""Reconstruction of one scan in Python: what `qsmxt` does for a participant, without BIDS and workflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from qsmxt_app.config import read_preset
from qsmxt_app.errors import UnusableData, WrongUsage
from qsmxt_app.settings import DEFAULT_PRESET, Settings, setting_fields
from qsmxt_app.settings.maps import MapSettings
from qsmxt_app.settings.method import MethodSettings
from qsmxt_app.settings.text import convert_settings, nearest
from qsmxt_app.tools.reconstruction import Reconstruction
from qsmxt_app.tools.scan_images import Images, read_scan
from qsmxt_app.tools.scan_pipeline import ScanPipeline
from qsmxt_app.workflows.limits import available_cpus
from qsmxt_app.workflows.resources import limited_threads


def reconstruct(
    magnitude: Images,
    phase: Images,
    *,
    echo_times: Sequence[float] | None = None,
    field_strength: float | None = None,
    voxel_size: Sequence[float] | None = None,
    b0_direction: Sequence[float] | None = None,
    mask: Images = None,
    reference: Images = "mean",
    r2: Images = None,
    preset: str = DEFAULT_PRESET,
    threads: int | None = None,
    **settings: Any,
) -> Reconstruction:
    """Reconstruct susceptibility and the other maps of one scan.

    The first call after an installation compiles for about a minute.

    Parameters
    ----------
    magnitude, phase
        All echoes: an array or an image of nibabel (x, y, z, echo), a path, or a sequence with one volume an
        echo. The phase is in rad or as a scanner stores it.
    echo_times
        s, ascending; by default those of the JSON files beside the images.
    field_strength
        T; by default that of the JSON file.
    voxel_size
        mm; by default that of the header.
    b0_direction
        Direction of the main field in voxel axes; by default that of the header, the third axis for arrays.
    mask
        Voxels to use (above 0), as an array, an image or a path. By default it is made from the data.
    reference
        What chi is relative to: ``mean`` (over the mask), ``none``, or a region as an array, image or path.
    r2
        R2 on the grid of the echoes, 1/s, as an array, image or path, for ``separation="auto"``.
    preset
        As ``--preset``, which decides what is not given here.
    threads
        Cores; by default all. The result does not depend on it.
    **settings
        Any option of the method or of the additional maps, with underscores:
        ``two_pass=False``, ``swi=True``.

    Returns
    -------
    Reconstruction

    Raises
    ------
    WrongUsage, NoInput, UnusableData
        Options that do not exist or contradict each other, and data that cannot be read or used.

    Examples
    --------
    >>> result = reconstruct("mag.nii.gz", "phase.nii.gz", two_pass=False)  # doctest: +SKIP
    >>> result.save("maps")  # doctest: +SKIP
    """
    chosen = _settings(preset, settings)
    scan = read_scan(
        magnitude, phase, mask=mask, r2=r2, echo_times=echo_times, field_strength=field_strength,
        voxel_size=voxel_size, direction=b0_direction,
    )  # fmt: skip
    with limited_threads(threads or available_cpus()):
        try:
            return ScanPipeline(scan, chosen, threads or available_cpus()).run(reference)
        except ValueError as error:  # the physics raises it for data that it cannot use
            raise UnusableData(str(error)) from error


def _settings(preset: str, options: Mapping[str, Any]) -> Settings:
    own = {field.name for field in dataclasses.fields(MethodSettings)} - {"mask", "reference"}
    own |= {field.name for field in dataclasses.fields(MapSettings)}
    for name in options:
        if name not in own:
            raise WrongUsage(f"reconstruct has no option {name}.", nearest(name, own))
    known = {field.name: field for field in setting_fields()}
    values = convert_settings(options, Settings, known, origin="reconstruct")
    return Settings(**{**read_preset(preset).settings, **values, "preset": preset, "segmentation": "none"})
