"""From rows that are filled in to images that can be named; what contradicts itself is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.headers import SEVERAL_VOLUMES, same_grid
from qsmxt_app.convert.converted_image import ConvertedImage, Part, Suffix
from qsmxt_app.convert.copying import write_volume
from qsmxt_app.convert.naming import group_key
from qsmxt_app.convert.nifti.coils import CombinedEcho, coil_axis, combine_coils
from qsmxt_app.convert.nifti.table import GRADIENT_ECHOES, Row
from qsmxt_app.convert.nifti.table_cells import Described, understand
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.qsm.phase import scale_phase

_SAMPLES = 200_000
_OF_COILS = ("CoilCombinationMethod", "Units")
"""What a sidecar says of uncombined coils and not of the combined images."""


@dataclass
class Outcome:
    """Images that were described, a line for each file that could not be, and notes by file."""

    images: list[ConvertedImage] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def refuse(self, names: Sequence[str], line: str) -> None:
        """Leave files out."""
        self.failures.append(line)
        self.notes |= dict.fromkeys(names, f"left out: {line}")


def describe(rows: Sequence[Row], work_dir: Path) -> Outcome:
    """Turn complete rows into images, volumes of 4D files split, and the range of phase checked.

    Parameters
    ----------
    rows
        Without missing cells.
    work_dir
        Where volumes of 4D files are written.
    """
    outcome = Outcome()
    acquisitions: dict[tuple[object, ...], list[Described]] = {}
    for row in rows:
        try:
            if row.file.problem:
                raise UnusableData(row.file.problem)
            one = understand(row)
        except UnusableData as error:
            outcome.refuse([row.file.name], str(error))
            continue
        acquisitions.setdefault(one.scan, []).append(one)
    for files in acquisitions.values():
        try:
            outcome.images += _describe_acquisition(files, work_dir, outcome)
        except (UnusableData, NoInput) as error:
            outcome.refuse([one.name for one in files], str(error))
    return outcome


def _describe_acquisition(
    files: Sequence[Described], work_dir: Path, outcome: Outcome
) -> list[ConvertedImage]:
    if files[0].suffix in GRADIENT_ECHOES:
        _check_grids(files)
    # whatever the user calls it later, it is the acquisition that begins with this file
    group = str(files[0].row.file.path.absolute())
    if (axis := _coil_axis(files)) is not None:
        echoes = combine_coils(files, axis, work_dir / group_key(group))
        outcome.notes |= {one.name: echoes[0].rule for one in files}
        return [
            image
            for number, echo in enumerate(echoes, 1)
            for image in _combined(echo, number, len(echoes), group)
        ]
    volumes = [volume for one in files for volume in _volumes(one)]
    volumes = _number_echoes(volumes)
    _check_duplicates(volumes)
    sidecars = _phase_metadata(files, outcome)
    return [
        _image(
            volume.file,
            _volume_file(volume, work_dir),
            _sidecar(volume) | sidecars.get(volume.file.name, {}),
            group,
            origin=volume.origin,
            echo=volume.echo,
        )
        for volume in volumes
    ]


def _image(
    one: Described,
    path: Path,
    sidecar: Mapping[str, Any],
    group: str,
    *,
    origin: str,
    echo: int | None,
) -> ConvertedImage:
    return ConvertedImage(
        path=path,
        sidecar=sidecar,
        subject=one.subject,
        session=one.session,
        suffix=one.suffix,
        group=group,
        origin=origin,
        acquisition=one.acquisition,
        reconstruction=one.reconstruction,
        echo=echo,
        part=one.part,
        acquired=_acquired(one.row.file.metadata),
        run=one.run,
    )


def _coil_axis(files: Sequence[Described]) -> int | None:
    """Return the axis of uncombined coils of a scan's files, which must all have it, or None."""
    if files[0].suffix not in GRADIENT_ECHOES or all(one.row.file.volumes == 1 for one in files):
        return None
    try:
        axes = {coil_axis(one) for one in files}
    except ValueError:  # told with the volumes
        return None
    return axes.pop() if len(axes) == 1 else None


def _combined(echo: CombinedEcho, number: int, echoes: int, group: str) -> list[ConvertedImage]:
    """Magnitude and phase of an echo whose coils were combined."""
    label = number if echoes > 1 else None
    suffix: Suffix = "MEGRE" if echoes > 1 else "T2starw"
    parts: tuple[tuple[Part, Path, dict[str, Any]], ...] = (
        ("mag", echo.magnitude, {}),
        ("phase", echo.phase, {"Units": "rad", "PhaseScaling": echo.rule}),
    )
    images = []
    for one, (part, path, more) in zip(echo.sources, parts, strict=True):
        volume = _Volume(replace(one, part=part, suffix=suffix), None, label, echo.echo_time)
        sidecar = {key: value for key, value in _sidecar(volume).items() if key not in _OF_COILS} | more
        images.append(_image(volume.file, path, sidecar, group, origin=one.name, echo=label))
    return images


def _volume_file(volume: _Volume, work_dir: Path) -> Path:
    """Path of a 3D image: the file itself, or a volume of it."""
    source = volume.file.row.file.path
    if volume.index is None:
        return source
    target = work_dir / f"{group_key(str(source))}-{volume.index}.nii"
    write_volume(source, volume.index, target)
    return target


@dataclass(frozen=True, eq=False)
class _Volume:
    file: Described
    index: int | None
    echo: int | None
    echo_time: float | None

    @property
    def origin(self) -> str:
        return self.file.name if self.index is None else f"{self.file.name} volume {self.index + 1}"


def _volumes(one: Described) -> list[_Volume]:
    """Volumes of a file: one each echo of a 4D file."""
    count = one.row.file.volumes
    if count == 1:
        time = one.echo_times[0] if len(one.echo_times) == 1 else None
        if one.suffix in GRADIENT_ECHOES and time is None:
            raise UnusableData(
                f"{one.name}: {len(one.echo_times)} echo times for one volume.", "Give one in 'echo_time'."
            )
        return [_Volume(one, None, one.echo, time)]
    if one.suffix != "MEGRE":
        raise UnusableData(
            f"{one.name}: {count} volumes in one file, which {one.suffix} cannot have.",
            "Say suffix MEGRE if they are echoes, or ignore.",
        )
    if len(one.echo_times) != count:
        raise UnusableData(
            f"{one.name}: {count} volumes, but {len(one.echo_times)} echo times.",
            f"Or write the echo times into 'echo_time', with blanks between. {SEVERAL_VOLUMES}",
        )
    return [_Volume(one, index, index + 1, time) for index, time in enumerate(one.echo_times)]


def _number_echoes(volumes: Sequence[_Volume]) -> list[_Volume]:
    """Number the echoes of a multi-echo scan by their times, where no number is given."""
    if volumes[0].file.suffix != "MEGRE":
        return [replace(volume, echo=None) for volume in volumes]
    if all(volume.echo is not None for volume in volumes):
        return list(volumes)
    times = sorted({round(volume.echo_time or 0, 6) for volume in volumes})
    return [replace(volume, echo=times.index(round(volume.echo_time or 0, 6)) + 1) for volume in volumes]


def _check_duplicates(volumes: Sequence[_Volume]) -> None:
    seen: dict[object, _Volume] = {}
    for volume in volumes:
        key = volume.file.suffix, volume.echo, volume.file.part
        if key in seen:
            what = " ".join(
                filter(None, [f"echo {volume.echo}" if volume.echo else "", volume.file.part or ""])
            )
            raise UnusableData(
                f"{seen[key].file.name} and {volume.file.name} would get the same name "
                f"(sub-{volume.file.subject} {volume.file.suffix}{' ' if what else ''}{what}).",
                "Distinguish them by session, acquisition, run, echo or part in the table, or ignore one.",
            )
        seen[key] = volume


def _check_grids(files: Sequence[Described]) -> None:
    first = files[0].row.file.header
    for one in files[1:]:
        header = one.row.file.header
        if first is None or header is None or same_grid(first, header):
            continue
        if header.shape[:3] != first.shape[:3]:
            shapes = ["x".join(map(str, shape[:3])) for shape in (header.shape, first.shape)]
            raise UnusableData(
                f"{one.name}: shape {shapes[0]}, but {shapes[1]} for {files[0].name} of the same scan.",
                "Magnitude and phase of all echoes must come from one scan, not resampled.",
            )
        raise UnusableData(
            f"{one.name}: another position or orientation than {files[0].name} of the same scan.",
            "Magnitude and phase of all echoes must come from one scan, not moved or resampled.",
        )


def _phase_metadata(files: Sequence[Described], outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Read the voxels of all files to their end, and tell the range and unit of phase images, by file."""
    phase: dict[str, np.ndarray] = {}
    for one in files:
        voxels = read_image(one.row.file.path).reshape(-1)
        if voxels.min() == voxels.max():
            raise UnusableData(f"{one.name}: every voxel is {voxels[0]:g}.", "Export it again, or ignore it.")
        if one.part == "phase" and one.suffix in GRADIENT_ECHOES:
            sample = voxels[:: max(1, voxels.size // _SAMPLES)]
            phase[one.name] = np.concatenate([sample, [voxels.min(), voxels.max()]])
    if not phase:
        return {}
    values = np.concatenate(list(phase.values()))
    units = _units(files)
    try:
        scaled = scale_phase(values, units)
    except ValueError as error:
        raise UnusableData(
            f"{next(iter(phase))}: {error}.", "Correct Units, or export the phase again."
        ) from error
    low, high = float(values.min()), float(values.max())
    radians = scaled.rule.removeprefix("Units: ").startswith("radians")
    text = "; ".join([f"phase from {low:.6g} to {high:.6g}: {scaled.rule}", *scaled.warnings])
    outcome.notes |= dict.fromkeys(phase, text)
    return {
        name: {"Units": "rad" if radians else "arbitrary", "PhaseRange": [_short(low), _short(high)]}
        for name in phase
    }


def _units(files: Sequence[Described]) -> str | None:
    given = [one.row.file.metadata.get("Units") for one in files if one.part == "phase"]
    return next((unit for unit in given if isinstance(unit, str)), None)


def _sidecar(volume: _Volume) -> dict[str, Any]:
    one = volume.file
    sidecar = dict(one.row.file.metadata)
    if one.suffix == "phasediff":
        if len(one.echo_times) != 2:
            raise UnusableData(
                f"{one.name}: a phase difference has two echo times.", "Give both in 'echo_time'."
            )
        sidecar |= dict(zip(("EchoTime1", "EchoTime2"), sorted(one.echo_times), strict=True))
    elif volume.echo_time is not None:
        sidecar["EchoTime"] = volume.echo_time
    if one.field_strength is not None:
        sidecar["MagneticFieldStrength"] = one.field_strength
    if volume.echo is not None:
        sidecar["EchoNumber"] = volume.echo
    return sidecar


def _acquired(metadata: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(metadata["AcquisitionDateTime"]))
    except (KeyError, ValueError):
        return None


def _short(value: float) -> float:
    return float(f"{value:.6g}")
