"""Quality of the maps of one scan: measured when they are written, for the record and the file beside them.

Each measure is defined, with the origin of its limits, in `docs/quality.md`.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_json
from qsmxt_app.maps.relaxation import RATE, SIGNAL
from qsmxt_app.qsm.map_quality import homogeneous_tissue, local_noise, streaking
from qsmxt_app.qsm.mask_checks import edge_shares
from qsmxt_app.qsm.sign_check import iron_contrast
from qsmxt_app.records.json_file import to_json, write_record
from qsmxt_app.records.open_values import number
from qsmxt_app.records.quality import Measure, state_of
from qsmxt_app.records.scan import MapChecks, ScanRecord, record_path
from qsmxt_app.report.region_names import region_names
from qsmxt_app.segment.expected_values import (
    WHITE_MATTER,
    RegionalValue,
    group_of,
    is_nucleus,
    read_regional_values,
)

QUALITY_SUFFIX = "_desc-qsm_quality.json"
NORMAL_QUARTILES = 1.349
"""Interquartile range of a standard normal distribution."""
_CROP = "of a crop inside the head"
_CROPPED_FACE, _CROPPED_SIDES = 0.5, 4
_SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


@dataclass(frozen=True)
class MeasureType:
    """A measure before it is taken: the key of `ScanRecord.quality`, and fields of `Measure`."""

    name: str
    title: str
    units: str
    limits: tuple[float, ...] | None
    meaning: str

    def measured(self, value: float | None, note: str = "", *, limits: bool = True) -> Measure:
        """Return the measure of one map; without limits where they do not apply to it."""
        own = self.limits if limits else None
        return Measure(value, self.units, own, state_of(value, own), self.title, self.meaning, note)


KINDS = {
    kind.name: kind
    for kind in (
        MeasureType("mask_volume", "Mask volume", "ml", (150, 300, 7000, 9000),
             "Of a brain or a whole head."),
        MeasureType("hole_fraction", "Mask holes", "1", (0.25, 0.5),
             "Share of the mask in which the phase is unreliable."),
        MeasureType("phase_snr", "Phase SNR", "1", (10, 4),
             "Phase of one radian at the mean echo time over its standard error."),
        MeasureType("fit_residual", "Fit residual", "rad", (0.2, 0.5),
             "Distance of the echoes' phase from a straight line, median."),
        MeasureType("untrusted_fraction", "Untrusted voxels", "1", (0.2, 0.4),
             "Share of the mask where the field is poorly determined."),
        MeasureType("chi_noise", "Noise of χ", "ppm", (0.03, 0.05),
             "Standard deviation among neighbours of one tissue."),
        MeasureType("streaking", "Streaking", "1", (1.5, 3.0),
             "Power of χ along the directions that the dipole kernel suppresses, over that of the others."),
        MeasureType("mirror_asymmetry", "Mirror asymmetry", "ppm", (0.025, 0.05),
             "Difference of χ between left and right nuclei, median."),
        MeasureType("convergence", "Convergence", "1", (1.05, 5.0),
             "Last relative change of χ over the one at which the solver stops."),
        MeasureType("registration_cost", "Registration cost", "1", (-1.02, -1.01),
             "Minus the mutual information of T1w and magnitude as aligned: -2 at best, -1 at worst."),
    )
}  # fmt: skip
"""All measures by name, in the order in which they are shown."""


def record_quality(output_dir: Path, record: ScanRecord) -> ScanRecord:
    """Measure the maps of a scan, write the measures beside its map of chi, and the record with them.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the maps, and tells what the steps noted.

    Returns
    -------
    ScanRecord
        With `checks` and `quality`; the record itself where there is no map of chi.
    """
    chi = record.output(output_dir, "chi")
    if chi is None:
        return record
    measured = dataclasses.replace(
        record, checks=check_maps(output_dir, record), quality=measure_quality(output_dir, record)
    )
    measures: dict[str, Any] = {name: to_json(one) for name, one in measured.quality.items()}
    for one in measures.values():
        if not one["note"]:
            del one["note"]
    content = {"software": {"qsmxt": __version__}, "measures": measures}
    write_json(chi.with_name(f"{record.stem}{QUALITY_SUFFIX}"), content)
    write_record(measured, record_path(output_dir, record))
    return measured


def check_maps(output_dir: Path, record: ScanRecord) -> MapChecks:
    """Gather what whole volumes of chi and of the mask show."""
    chi, mask = (_image(record.output(output_dir, key)) for key in ("chi", "mask"))
    found: dict[str, Any] = {}
    if chi is not None:
        values = chi[(chi != 0) & np.isfinite(chi)]
        found["not_finite"] = int(np.count_nonzero(~np.isfinite(chi)))
        if values.size:
            lower, upper = np.percentile(values, [25, 75])
            found["chi_spread"] = float(upper - lower) / NORMAL_QUARTILES
    if mask is not None:
        found |= {"mask_voxels": int(np.count_nonzero(mask)), "edge_fraction": _edge_fractions(mask != 0)}
    return MapChecks(**found, iron_contrast=_iron_contrast(output_dir, record))


def _iron_contrast(output_dir: Path, record: ScanRecord) -> float | None:
    maps = [_finite(record.output(output_dir, key)) for key in ("chi", RATE, SIGNAL, "mask")]
    edges = record.inputs.voxel_size
    if edges is None or len({volume.shape for volume in maps if volume is not None}) != 1:
        return None
    chi, rate, signal, mask = maps
    if chi is None or rate is None or signal is None or mask is None:
        return None
    size = [edge * record.inputs.length_scale for edge in edges]
    return iron_contrast(chi, rate, signal, mask != 0, voxel_size=size)


def measure_quality(output_dir: Path, record: ScanRecord) -> dict[str, Measure]:
    """Measure a map from what is on disk: one of each kind, without a value where it cannot be measured."""
    found = {
        **_recorded(record),
        **_of_map(output_dir, record),
        "mirror_asymmetry": _asymmetry(read_regional_values(record.output(output_dir, "stats"))),
    }
    measures = {}
    for name, kind in KINDS.items():
        value, note = found.get(name, (None, ""))
        # those of the volume are of heads: they say nothing of other parts of the body, nor of crops
        no_head = record.settings.get("preset") == "body" or record.inputs.length_scale != 1
        other = name == "mask_volume" and (no_head or note == _CROP)
        measures[name] = kind.measured(value, note, limits=not other)
    return measures


_Found = tuple[float | None, str]


def _recorded(record: ScanRecord) -> dict[str, _Found]:
    """What the steps noted already."""
    field, mask, times = record.field, record.mask, record.inputs.echo_times
    noise, known, trusted = field.noise_median_hz, field.known_fraction, field.trusted_fraction
    return {
        "mask_volume": (mask.volume_ml, ""),
        "hole_fraction": (mask.hole_fraction, ""),
        "phase_snr": (1 / (2 * math.pi * float(np.mean(times)) * noise) if noise and times else None, ""),
        "fit_residual": (field.residual_median_rad if len(times) > 1 else None, ""),
        "untrusted_fraction": (None if known is None or trusted is None else 1 - known * trusted, ""),
        "convergence": _convergence(record),
        "registration_cost": (record.segmentation.alignment.cost_after, ""),
    }


def _convergence(record: ScanRecord) -> _Found:
    """Last change of chi over the tolerance, of the worse of both passes."""
    tolerance = number(record.settings.get("tgv_tolerance"))
    histories = (one.history.chi_change for one in (record.inversion, record.inversion_reliable))
    last = [change for changes in histories if changes and (change := changes[-1]) is not None]
    return (max(last) / tolerance, "") if last and tolerance else (None, "")


def _of_map(output_dir: Path, record: ScanRecord) -> dict[str, _Found]:
    """What chi itself shows."""
    chi, mask = (_finite(record.output(output_dir, key)) for key in ("chi", "mask"))
    edges, direction = record.inputs.voxel_size, record.inputs.b0_direction
    if chi is None or edges is None or direction is None:
        return {}
    size = [edge * record.inputs.length_scale for edge in edges]
    # chi is zero outside its own mask, which background removal may have made smaller
    inside = (chi != 0) if mask is None or mask.shape != chi.shape else (mask != 0) & (chi != 0)
    cropped = np.count_nonzero(edge_shares(inside) > _CROPPED_FACE) >= _CROPPED_SIDES
    tissue, note = _white_matter(output_dir, record, inside), "in white matter"
    if tissue is None:
        magnitude = _finite(record.output(output_dir, "magnitude"))
        if magnitude is None or magnitude.shape != chi.shape:
            tissue = inside
        else:
            tissue = homogeneous_tissue(magnitude, inside, voxel_size=size)
        note = "in the most homogeneous tissue"
    return {
        **({"mask_volume": (record.mask.volume_ml, _CROP)} if cropped else {}),
        "chi_noise": (local_noise(chi, tissue), note),
        "streaking": (streaking(chi, inside, voxel_size=size, b0_direction=direction), ""),
    }


def _white_matter(
    output_dir: Path, record: ScanRecord, inside: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    path = record.output(output_dir, "dseg")
    labels = _finite(path)
    chosen = [index for index, name in region_names(path).items() if group_of(name) == WHITE_MATTER]
    if labels is None or labels.shape != inside.shape or not chosen:
        return None
    tissue = np.isin(labels, chosen) & inside
    return tissue if tissue.any() else None


def _asymmetry(values: tuple[RegionalValue, ...]) -> _Found:
    """Median over nuclei of the difference between left and right."""
    sides: dict[str, dict[str, float]] = {}
    for value in values:
        if is_nucleus(value.name):
            sides.setdefault(value.name, {})[value.hemisphere] = value.median
    differences = [abs(pair["L"] - pair["R"]) for pair in sides.values() if {"L", "R"} <= pair.keys()]
    if not differences:
        return None, ""
    return float(np.median(differences)), f"of {len(differences)} pairs"


def _edge_fractions(inside: NDArray[np.bool_]) -> dict[str, float]:
    """Share of each face of the volume (in RAS order) that the mask touches.

    A neck leaves through the bottom of most images, so the bottom counts only where the top is cut as well.
    """
    shares = {
        name: float(np.take(inside, index, axis=axis).mean())
        for axis, names in enumerate(_SIDES)
        for name, index in zip(names, (0, -1), strict=True)
    }
    if not shares["top"]:
        del shares["bottom"]
    return shares


def _image(path: Path | None) -> NDArray[np.float32] | None:
    """Read a volume in RAS order; None where that is not possible."""
    return None if path is None else _read(path, canonical=True)


def _finite(path: Path | None) -> NDArray[np.float32] | None:
    """Read a volume as it is stored; None where that is not possible, or it holds what is not a number."""
    volume = None if path is None else _read(path)
    return volume if volume is not None and np.isfinite(volume).all() else None


def _read(path: Path, *, canonical: bool = False) -> NDArray[np.float32] | None:
    try:
        image: Any = nib.load(path)
        image = nib.as_closest_canonical(image) if canonical else image
        volume = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error, AttributeError):
        return None
    return volume if volume.ndim == 3 and volume.size else None
