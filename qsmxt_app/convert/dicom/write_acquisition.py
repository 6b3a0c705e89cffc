"""Converted volumes of one acquisition to the images that go into the dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from qsmxt_app.arrays import ComplexArray
from qsmxt_app.bids.derivatives import save_image
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.converter import ConversionFailed
from qsmxt_app.convert.dicom.header_checks import SHORTEST_REPETITION_TIME
from qsmxt_app.convert.dicom.planned_acquisition import Member, PlannedAcquisition
from qsmxt_app.convert.dicom.vendors import Vendor, vendor_of
from qsmxt_app.convert.dicom.volumes import Volume
from qsmxt_app.qsm.complex_parts import (
    Channel,
    Polar,
    add_pi_to_every_second_slice,
    combine_channels,
    polar_from_parts,
    slices_alternate,
)
from qsmxt_app.qsm.phase import scale_phase, wrap_phase

MISSING_SLICES = "MissingSlices"
"""Key of the sidecar: slices (from 0) that no file was found for in at least one image of the scan."""
_WITH_PART = frozenset({"MEGRE", "T2starw"})

_COMPONENT_WORDS = frozenset({"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "PHASE MAP"})

Part = Literal["mag", "phase"]
Parts = dict[Component, tuple[Member, Volume]]
"""Converted members of one echo and channel by what their numbers are."""


@dataclass(frozen=True)
class _Place:
    """Where images go, and what is noted of each."""

    folder: Path
    records: list[dict[str, Any]]

    def add(self, member: Member, part: Part, sidecar: Mapping[str, Any]) -> Path:
        """Note an image, and say where to write it."""
        path = self.folder / f"{len(self.records):04d}.nii"
        self.records.append(
            {
                "file": path.name,
                "sidecar": dict(sidecar),
                "suffix": member.suffix,
                "echo": member.echo,
                "part": part if member.suffix in _WITH_PART else None,
                "origin": f"series {member.series.key}",
            }
        )
        return path


def finish(acquisition: PlannedAcquisition, volumes: Sequence[Volume], folder: Path) -> list[dict[str, Any]]:
    """Write the images of an acquisition.

    Parameters
    ----------
    volumes
        One for each member of the acquisition.
    folder
        Where images are written, uncompressed.

    Returns
    -------
    list of dict
        For each image ``file`` (its name), ``sidecar``, ``suffix``, ``echo``, ``part`` and ``origin``.

    Raises
    ------
    ConversionFailed
        If parts of a complex image are missing or do not fit together.
    """
    place = _Place(folder, [])
    pairs = list(zip(acquisition.members, volumes, strict=True))
    _check_distinct(acquisition.members)
    if any(_is_complex(member) for member, _ in pairs):
        _write_combined(acquisition, pairs, place)
        return place.records
    alternate = _phase_alternates(pairs)
    missing = sorted({index for volume in volumes for index in volume.sidecar.get(MISSING_SLICES, ())})
    for member, volume in pairs:
        _write_one(acquisition, member, volume, place, alternate, missing)
    return place.records


def _check_distinct(members: Sequence[Member]) -> None:
    """Refuse images that would be the same echo of the same thing."""
    seen: dict[tuple[object, ...], Member] = {}
    for member in members:
        place = member.suffix, member.component, member.echo, member.stack.coil
        if place in seen:
            echo = f"{1000 * member.stack.echo_time:g} ms" if member.stack.echo_time else "unknown"
            raise ConversionFailed(
                f"{member.stack.files[0]}: by its header the same {member.component} (echo time {echo}) as "
                f"{seen[place].stack.files[0]}; without their echo times they cannot be distinguished"
            )
        seen[place] = member


def _is_complex(member: Member) -> bool:
    return member.component in {"real", "imaginary"} or member.stack.coil is not None


def _write_one(
    acquisition: PlannedAcquisition,
    member: Member,
    volume: Volume,
    place: _Place,
    alternate: bool,
    missing: Sequence[int],
) -> None:
    """Write one image; slices that another image of the scan lacks have no signal in the magnitude."""
    sidecar = _sidecar(acquisition, member, volume)
    if missing:
        sidecar[MISSING_SLICES] = list(missing)
    if missing and member.component == "magnitude":
        values = volume.values()
        values[:, :, missing] = 0
        save_image(values, volume.affine, place.add(member, "mag", sidecar))
        return
    if member.component not in {"phase", "phasediff"}:
        is_map = member.component == "b0map"
        own = _vendor(member).field_map_rescaling(volume.sidecar) if is_map else None
        volume.write(place.add(member, "mag", sidecar), own)
        return
    scaling = volume.phase_scaling
    sidecar |= {"Units": scaling.units, "PhaseScaling": scaling.rule}
    path = place.add(member, "phase", sidecar)
    if alternate and scaling.units == "rad":
        save_image(add_pi_to_every_second_slice(_radians(volume)), volume.affine, path)
    else:
        volume.write(path, (scaling.slope, scaling.intercept))


def _phase_alternates(pairs: Sequence[tuple[Member, Volume]]) -> bool:
    """Whether phase jumps by pi from slice to slice, in the first echo that has a magnitude."""
    echoes: defaultdict[int, Parts] = defaultdict(dict)
    for member, volume in pairs:
        echoes[member.echo or 0][member.component] = member, volume
    for _, parts in sorted(echoes.items()):
        if "magnitude" in parts and "phase" in parts:
            magnitude, phase = parts["magnitude"][1].values(), _radians(parts["phase"][1])
            return magnitude.shape == phase.shape and slices_alternate(Polar(magnitude, phase))
    return False


def _radians(volume: Volume) -> np.ndarray:
    """Phase (x, y, z) in rad; where its unit is unknown, by its extremes."""
    scaling = volume.phase_scaling
    values = volume.stored() * np.float32(scaling.slope) + np.float32(scaling.intercept)
    if scaling.units == "rad":
        return wrap_phase(values)
    try:
        return scale_phase(values).phase
    except ValueError as error:
        raise ConversionFailed(f"{volume.stack.files[0]}: {error}") from error


def _write_combined(
    acquisition: PlannedAcquisition, pairs: Sequence[tuple[Member, Volume]], place: _Place
) -> None:
    """Write magnitude and phase of each echo from its real and imaginary parts, its channels, or both."""
    echoes = _by_echo_and_channel(pairs)
    channels = sorted({coil for channels in echoes for coil in channels if coil})
    whole = [channels.get("", {}) for channels in echoes]
    polars: Iterable[Polar] = (_polar(parts) for parts in whole)  # one echo in memory at a time
    if channels:
        _check_complete(echoes, channels)
        polars = _combine(echoes, channels)
    alternate = False
    for echo, polar in enumerate(polars):
        parts = echoes[echo][channels[0] if channels else ""]
        alternate = slices_alternate(polar) if echo == 0 else alternate
        phase = add_pi_to_every_second_slice(polar.phase) if alternate else polar.phase
        if _from_parts(parts):
            phase = wrap_phase(_vendor(next(iter(parts.values()))[0]).phase_sign * phase)
        given = whole[echo].get("magnitude")
        _write_polar(acquisition, parts, Polar(polar.magnitude, phase), given, place)


def _by_echo_and_channel(pairs: Sequence[tuple[Member, Volume]]) -> list[dict[str, Parts]]:
    found: defaultdict[int, defaultdict[str, Parts]] = defaultdict(lambda: defaultdict(dict))
    for member, volume in pairs:
        found[member.echo or 0][member.stack.coil or ""][member.component] = member, volume
    return [dict(found[echo]) for echo in sorted(found)]


def _check_complete(echoes: Sequence[Mapping[str, Parts]], channels: Sequence[str]) -> None:
    for number, echo in enumerate(echoes, 1):
        lost = [coil for coil in channels if coil not in echo]
        if lost:
            files = next(iter(next(iter(echo.values())).values()))[1].stack.files
            raise ConversionFailed(f"{files[0]}: echo {number} has no image of channel {', '.join(lost)}")


def _from_parts(parts: Parts) -> bool:
    return "real" in parts and "imaginary" in parts


def _vendor(member: Member) -> Vendor:
    return vendor_of(member.series.scan.manufacturer)


def _polar(parts: Parts) -> Polar:
    """Magnitude and phase of one channel's echo."""
    volume = next(iter(parts.values()))[1]
    first: Component = "real" if {"real", "imaginary"} & parts.keys() else "magnitude"
    second: Component = "imaginary" if first == "real" else "phase"
    for needed in (first, second):
        if needed not in parts:
            have = ", ".join(parts)
            raise ConversionFailed(f"{volume.stack.files[0]}: the {needed} part is missing, found: {have}")
    one, two = parts[first][1], parts[second][1]
    if not np.allclose(one.affine, two.affine, atol=1e-3):
        raise ConversionFailed(f"{one.stack.files[0]}: lies elsewhere than {two.stack.files[0]}")
    try:
        if first == "real":
            return polar_from_parts(one.values(), two.values())
        return Polar(one.values(), _radians(two))
    except ValueError as error:
        raise ConversionFailed(f"{volume.stack.files[0]}: {error}") from error


def _combine(echoes: Sequence[Mapping[str, Parts]], channels: Sequence[str]) -> list[Polar]:
    def channel(coil: str) -> Channel:
        def read(echo: int) -> ComplexArray:
            polar = _polar(echoes[echo][coil])
            return np.asarray(polar.magnitude * np.exp(1j * polar.phase), dtype=np.complex64)

        return read

    first = [next(iter(echo[channels[0]].values()))[1] for echo in echoes]
    voxel_size = np.linalg.norm(first[0].affine[:3, :3], axis=0)
    echo_times = [volume.stack.echo_time or 0.0 for volume in first]
    try:
        return combine_channels([channel(coil) for coil in channels], echo_times, voxel_size=voxel_size)
    except ValueError as error:
        raise ConversionFailed(f"{first[0].stack.files[0]}: channels cannot be combined: {error}") from error


def _write_polar(
    acquisition: PlannedAcquisition,
    parts: Parts,
    polar: Polar,
    given: tuple[Member, Volume] | None,
    place: _Place,
) -> None:
    """Write one echo; the magnitude that the scanner gave, where it did."""
    member, volume = next(iter(parts.values()))
    if given is not None:
        given[1].write(place.add(given[0], "mag", _sidecar(acquisition, *given)))
    else:
        sidecar = _sidecar(acquisition, member, volume)
        path = place.add(member, "mag", sidecar | _image_type(sidecar, "MAGNITUDE"))
        save_image(polar.magnitude, volume.affine, path)
    rule = "angle of the combined channels"
    if _from_parts(parts):
        rule = "; ".join(filter(None, ["angle of real and imaginary parts", _vendor(member).sign_rule]))
    sidecar = _sidecar(acquisition, member, volume) | {"Units": "rad", "PhaseScaling": rule}
    sidecar |= _image_type(sidecar, "PHASE")
    save_image(polar.phase, volume.affine, place.add(member, "phase", sidecar))


def _image_type(sidecar: Mapping[str, Any], component: str) -> dict[str, Any]:
    """Image type of an image that was made of others: no more that of a part."""
    words = sidecar.get("ImageType")
    if not isinstance(words, list):
        return {}
    return {"ImageType": [word for word in words if word not in _COMPONENT_WORDS] + [component]}


def _sidecar(acquisition: PlannedAcquisition, member: Member, volume: Volume) -> dict[str, Any]:
    """The converter's sidecar; what it lacks or rounds comes from the DICOM header."""
    sidecar = {key: value for key, value in volume.sidecar.items() if key != "BidsGuess"}
    scan = member.series.scan
    if scan.field_strength is not None:
        sidecar["MagneticFieldStrength"] = scan.field_strength  # in tesla, which the header's may not be
    for key, value in (
        ("RepetitionTime", scan.repetition_time),
        ("FlipAngle", scan.flip_angle),
        ("InversionTime", volume.stack.kind.inversion_time),
        ("Manufacturer", scan.manufacturer or None),
    ):
        if value is not None:
            sidecar.setdefault(key, value)
    if sidecar.get("RepetitionTime", 1) < SHORTEST_REPETITION_TIME:
        del sidecar["RepetitionTime"]
    if volume.stack.echo_time is not None:
        sidecar["EchoTime"] = round(volume.stack.echo_time, 9)
    if member.echo is not None:
        sidecar["EchoNumber"] = member.echo
    if member.component == "b0map":
        sidecar["Units"] = "Hz"
    if member.component == "phasediff":
        sidecar |= _two_echo_times(acquisition)
    return sidecar


def _two_echo_times(acquisition: PlannedAcquisition) -> dict[str, float]:
    """Echo times of the magnitudes beside a phase difference."""
    magnitudes = [one for one in acquisition.members if one.suffix.startswith("magnitude")]
    times = sorted({one.stack.echo_time for one in magnitudes if one.stack.echo_time is not None})
    return {"EchoTime1": round(times[0], 9), "EchoTime2": round(times[1], 9)} if len(times) == 2 else {}
