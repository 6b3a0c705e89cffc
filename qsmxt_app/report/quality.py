"""Quality measures of a map: numbers with limits beside them, for the page, the group, and anybody later.

Each measure is defined, with the origin of its limits, in `docs/quality.md`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_json
from qsmxt_app.qsm.map_quality import homogeneous_tissue, local_noise, streaking
from qsmxt_app.qsm.mask_checks import edge_shares
from qsmxt_app.report.region_names import region_names
from qsmxt_app.report.regional import NUCLEI, WHITE_MATTER, RegionalValue, group_of, read_regional_values
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.scan_record import Record, mapping, number, numbers, output_path, text

QUALITY_SUFFIX = "_desc-qsm_quality.json"
_CROP = "of a crop inside the head"
_CROPPED_FACE, _CROPPED_SIDES = 0.5, 4
STATES = ("good", "look", "bad", "none")


@dataclass(frozen=True)
class MeasureType:
    """A measure and its limits.

    Attributes
    ----------
    name
        Key in the JSON file.
    title
        As a reader says it.
    units
        Of the value; `1` for a ratio.
    limits
        Two numbers, where one should look and where the map is bad: rising if more is worse, falling if less
        is. Four numbers, rising: bad below, look below, look above, bad above. None where nobody knows.
    meaning
        What it tells, in one sentence.
    """

    name: str
    title: str
    units: str
    limits: tuple[float, ...] | None
    meaning: str


@dataclass(frozen=True)
class Measure:
    """A kind of measure with the value of one map."""

    kind: MeasureType
    value: float | None
    note: str = ""

    @property
    def state(self) -> str:
        """`good`, `look`, `bad`, or `none` without a value or limits."""
        return state_of(self.value, self.kind.limits)

    @property
    def words(self) -> str:
        """The state as a reader says it."""
        missing = "not measured" if self.value is None else "no limit"
        return {"good": "good", "look": "look at it", "bad": "bad"}.get(self.state, missing)

    @property
    def level(self) -> str:
        """The state as a level of a page: `done`, `warning`, `error`, or empty."""
        return {"good": "done", "look": "warning", "bad": "error"}.get(self.state, "")

    @property
    def good(self) -> str:
        """The limits in words: what is good, and from where on it is bad."""
        limits = self.kind.limits
        if limits is None:
            return ""
        shown = [show_number(limit) for limit in limits]
        if len(shown) == 4:
            return f"{shown[1]} to {shown[2]} (bad outside {shown[0]} to {shown[3]})"
        below, bad = ("up to", "above") if limits[1] > limits[0] else ("from", "below")
        return f"{below} {shown[0]} (bad {bad} {shown[1]})"


KINDS = {
    kind.name: kind
    for kind in (
        MeasureType("mask_volume", "Mask volume", "ml", (150, 300, 7000, 9000),
             "Of a brain or a whole head."),
        MeasureType("hole_fraction", "Holes of the mask", "1", (0.25, 0.5),
             "Share of the mask in which the data do not show the phase."),
        MeasureType("phase_snr", "Phase SNR", "1", (10, 4),
             "Phase of one radian at the mean echo time over its standard error."),
        MeasureType("fit_residual", "Fit residual", "rad", (0.2, 0.5),
             "How far the echoes' phase is from a straight line, median."),
        MeasureType("untrusted_fraction", "Untrusted voxels", "1", (0.2, 0.4),
             "Share of the mask whose field is not known, or hardly."),
        MeasureType("chi_noise", "Noise of χ", "ppm", (0.03, 0.05),
             "Standard deviation among neighbours of one tissue."),
        MeasureType("streaking", "Streaking", "1", (1.5, 3.0),
             "Power of χ along the directions that the field does not show, over that of the others."),
        MeasureType("mirror_asymmetry", "Mirror asymmetry", "ppm", (0.025, 0.05),
             "Difference of χ between left and right nuclei, median."),
        MeasureType("convergence", "Convergence", "1", (1.05, 5.0),
             "Last relative change of χ over the one at which the solver stops."),
        MeasureType("registration_cost", "Registration cost", "1", (-1.02, -1.01),
             "Minus the mutual information of T1w and magnitude as aligned: -2 at best, -1 at worst."),
    )
}  # fmt: skip
"""All measures by name, in the order in which they are shown."""


def state_of(value: float | None, limits: tuple[float, ...] | None) -> str:
    """Compare a value with its limits.

    Parameters
    ----------
    value
        The measure.
    limits
        As `MeasureType.limits`.

    Examples
    --------
    >>> [state_of(value, (10, 4)) for value in (12, 8, 3)]
    ['good', 'look', 'bad']
    >>> [state_of(value, (1, 2, 8, 9)) for value in (0, 1.5, 5, 8.5, 10)]
    ['bad', 'look', 'good', 'look', 'bad']
    """
    if value is None or limits is None:
        return "none"
    if len(limits) == 4:
        states = (state_of(value, (limits[1], limits[0])), state_of(value, (limits[2], limits[3])))
        return max(states, key=STATES.index)
    look, bad = limits
    sign = 1 if bad > look else -1
    return "bad" if sign * value > sign * bad else "look" if sign * value > sign * look else "good"


def measure_quality(output_dir: Path, record: Record) -> tuple[Measure, ...]:
    """Measure a map from what is on disk.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the maps, and tells what the steps noted.

    Returns
    -------
    tuple of Measure
        One of each kind; without a value where a map or a fact is missing.
    """
    found = {
        **_recorded(record),
        **_of_map(output_dir, record),
        "mirror_asymmetry": _asymmetry(read_regional_values(output_path(output_dir, record, "stats"))),
    }
    measures = (Measure(kind, *found.get(kind.name, (None, ""))) for kind in KINDS.values())
    return tuple(
        _without_limits(measure) if _is_elsewhere(measure, record) else measure for measure in measures
    )


def write_quality(output_dir: Path, record: Record) -> Path | None:
    """Measure a map, and write the measures beside it.

    Returns
    -------
    pathlib.Path or None
        `..._desc-qsm_quality.json`; None for a record without a map.
    """
    chi = output_path(output_dir, record, "chi")
    if chi is None:
        return None
    measures = {
        measure.kind.name: {
            "value": measure.value,
            "units": measure.kind.units,
            "limits": measure.kind.limits,
            "state": measure.state,
            "title": measure.kind.title,
            "description": measure.kind.meaning,
            **({"note": measure.note} if measure.note else {}),
        }
        for measure in measure_quality(output_dir, record)
    }
    path = chi.with_name(f"{record.stem}{QUALITY_SUFFIX}")
    write_json(path, {"software": {"qsmxt": __version__}, "measures": measures})
    return path


def read_quality(output_dir: Path, record: Record) -> tuple[Measure, ...]:
    """Read the measures of a map back; without a readable file there are none."""
    chi = output_path(output_dir, record, "chi")
    if chi is None:
        return ()
    try:
        content = json.loads(chi.with_name(f"{record.stem}{QUALITY_SUFFIX}").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    written = {name: mapping(one) for name, one in mapping(mapping(content).get("measures")).items()}
    return tuple(_measure(name, one) for name, one in written.items())


def _measure(name: str, written: Mapping[str, Any]) -> Measure:
    limits = numbers(written.get("limits"))
    kind = MeasureType(
        name,
        text(written.get("title")) or name.replace("_", " "),
        text(written.get("units")),
        limits if len(limits) in (2, 4) else None,
        text(written.get("description")),
    )
    return Measure(kind, number(written.get("value")), text(written.get("note")))


def _is_elsewhere(measure: Measure, record: Record) -> bool:
    """Whether the limits, which are those of heads, say nothing: of other parts of the body, and of crops."""
    other = record.settings.get("preset") == "body" or measure.note == _CROP
    return measure.kind.name == "mask_volume" and other


def _without_limits(measure: Measure) -> Measure:
    return dataclasses.replace(measure, kind=dataclasses.replace(measure.kind, limits=None))


_Found = tuple[float | None, str]


def _recorded(record: Record) -> dict[str, _Found]:
    """What the steps noted already."""
    field, noise, times = record.field, number(record.field.get("noise_median_hz")), record.echo_times
    known, trusted = (number(field.get(f"{name}_fraction")) for name in ("known", "trusted"))
    cost = number(mapping(record.segmentation.get("alignment")).get("cost_after"))
    snr = 1 / (2 * math.pi * float(np.mean(times)) * noise) if noise and times else None
    return {
        "mask_volume": (number(record.mask.get("volume_ml")), ""),
        "hole_fraction": (number(record.mask.get("hole_fraction")), ""),
        "phase_snr": (snr, ""),
        "fit_residual": (number(field.get("residual_median_rad")) if len(times) > 1 else None, ""),
        "untrusted_fraction": (None if known is None or trusted is None else 1 - known * trusted, ""),
        "convergence": _convergence(record),
        "registration_cost": (cost, ""),
    }


def _convergence(record: Record) -> _Found:
    """Last change of chi over the tolerance, of the worse of both passes."""
    tolerance = number(record.tgv.get("tolerance")) or number(record.settings.get("tgv_tolerance"))
    changes = [
        numbers(mapping(one.get("history")).get("chi_change")) for one in (record.tgv, record.tgv_reliable)
    ]
    last = [change[-1] for change in changes if change]
    return (max(last) / tolerance, "") if last and tolerance else (None, "")


def _of_map(output_dir: Path, record: Record) -> dict[str, _Found]:
    """What chi itself shows."""
    chi, mask = (_voxels(output_path(output_dir, record, key)) for key in ("chi", "mask"))
    size, direction = numbers(record.inputs.get("voxel_size")), numbers(record.inputs.get("b0_direction"))
    if chi is None or len(size) != 3 or len(direction) != 3:
        return {}
    # chi is zero outside its own mask, which background removal may have made smaller
    inside = (chi != 0) if mask is None or mask.shape != chi.shape else (mask != 0) & (chi != 0)
    cropped = np.count_nonzero(edge_shares(inside) > _CROPPED_FACE) >= _CROPPED_SIDES
    tissue, note = _white_matter(output_dir, record, inside), "in white matter"
    if tissue is None:
        magnitude = _voxels(output_path(output_dir, record, "magnitude"))
        if magnitude is None or magnitude.shape != chi.shape:
            tissue = inside
        else:
            tissue = homogeneous_tissue(magnitude, inside, voxel_size=size)
        note = "in the most homogeneous tissue"
    volume = number(record.mask.get("volume_ml"))
    return {
        **({"mask_volume": (volume, _CROP)} if cropped else {}),
        "chi_noise": (local_noise(chi, tissue), note),
        "streaking": (streaking(chi, inside, voxel_size=size, b0_direction=direction), ""),
    }


def _white_matter(output_dir: Path, record: Record, inside: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    path = output_path(output_dir, record, "dseg")
    labels = _voxels(path)
    chosen = [index for index, name in region_names(path).items() if group_of(name) == WHITE_MATTER]
    if labels is None or labels.shape != inside.shape or not chosen:
        return None
    tissue = np.isin(labels, chosen) & inside
    return tissue if tissue.any() else None


def _asymmetry(values: tuple[RegionalValue, ...]) -> _Found:
    """Median over nuclei of the difference between left and right."""
    sides: dict[str, dict[str, float]] = {}
    for value in values:
        if group_of(value.name) in NUCLEI:
            sides.setdefault(value.name, {})[value.hemisphere] = value.median
    differences = [abs(pair["L"] - pair["R"]) for pair in sides.values() if {"L", "R"} <= pair.keys()]
    if not differences:
        return None, ""
    return float(np.median(differences)), f"of {len(differences)} pairs"


def _voxels(path: Path | None) -> NDArray[np.float32] | None:
    if path is None:
        return None
    try:
        volume = np.asarray(nib.load(path).dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error, AttributeError):
        return None
    return volume if volume.ndim == 3 and volume.size and np.isfinite(volume).all() else None
