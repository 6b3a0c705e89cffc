"""From the image files of one scan to an `Acquisition`, or to the problems that prevent it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qsmxt_app.bids.acquisition import Acquisition, Echo, Problem
from qsmxt_app.bids.headers import SEVERAL_VOLUMES, ImageHeader, b0_direction, read_header, same_grid
from qsmxt_app.bids.image_type import filter_warnings
from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.bids.timing import (
    agreed_echo_time,
    check_ascending,
    echo_time_of,
    field_strength_of,
    readout_of,
)
from qsmxt_app.bids.volumes import FIFTH_AXIS, coils_of, find_coil_axis, is_uncombined
from qsmxt_app.errors import QsmxtError, UnusableData
from qsmxt_app.terminal import printable

log = logging.getLogger("qsmxt")

_POLAR = ("mag", "phase")
_CARTESIAN = ("real", "imag")
_PART_NAMES = {"mag": "magnitude", "phase": "phase", "real": "real part", "imag": "imaginary part"}

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFile:
    """One image of a scan; `part` is ``mag`` where the name has none, `echo` None where it has none."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def part(self) -> str:
        """``mag``, ``phase``, ``real`` or ``imag``."""
        return self.entities.get("part", "mag")

    @property
    def echo(self) -> int | None:
        """Number in the name's ``echo-``."""
        return int(self.entities["echo"]) if self.entities.get("echo", "").isdecimal() else None

    @property
    def scan(self) -> tuple[tuple[tuple[str, str], ...], str]:
        """What all images of one scan have in common."""
        return self.without()

    def without(self, *keys: str) -> tuple[tuple[tuple[str, str], ...], str]:
        """Entities but for the echo, the part, the coil and others, and the suffix."""
        left_out = {"echo", "part", "coil", *keys}
        return tuple((k, v) for k, v in self.entities.items() if k not in left_out), self.suffix


class _Several(Exception):
    """What is wrong with each of several files."""

    def __init__(self, found: list[tuple[Path, QsmxtError]]) -> None:
        self.found = found
        super().__init__()


def _for_each(paths: Iterable[Path], action: Callable[[Path], T]) -> dict[Path, T]:
    """Apply a check to every file before giving up, so that one run tells everything."""
    done: dict[Path, T] = {}
    failed: list[tuple[Path, QsmxtError]] = []
    for path in dict.fromkeys(paths):
        try:
            done[path] = action(path)
        except QsmxtError as error:
            failed.append((path, error))
    if failed:
        raise _Several(failed)
    return done


def has_phase(images: Sequence[ImageFile]) -> bool:
    """Whether any image of a scan carries phase."""
    return any(image.part != "mag" for image in images)


def assemble(
    images: Sequence[ImageFile], sidecars: Sidecars, wanted: frozenset[int] = frozenset()
) -> tuple[Acquisition | None, list[Problem]]:
    """Make an acquisition of all images of one scan.

    Parameters
    ----------
    images
        Magnitude and phase, or real and imaginary part, of its echoes.
    sidecars
        Of the dataset.
    wanted
        Numbers of the echoes that were selected; none where all are.

    Returns
    -------
    tuple
        The acquisition and no problem, or None and at least one problem.
    """
    try:
        return _assemble_coils(images, sidecars, wanted), []
    except _Several as several:
        failed = several.found
    except QsmxtError as error:
        failed = [(images[0].path, error)]
    except Exception as error:
        # whatever the files of one scan hold, the others are processed
        log.exception("%s", images[0].path)
        reason = printable(f"{type(error).__name__}: {error}")[:200]
        problem = UnusableData(f"{images[0].path}: cannot be understood ({reason}).", "Convert it again.")
        failed = [(images[0].path, problem)]
    subject, session = images[0].entities["sub"], images[0].entities.get("ses")
    return None, [
        Problem(subject, session, path, error.message + _as_well(others), error.hint, error.exit_code)
        for (path, error), *others in _by_cause(failed)
    ]


def _by_cause(failed: list[tuple[Path, QsmxtError]]) -> list[list[tuple[Path, QsmxtError]]]:
    """Put together what is wrong with several files for one reason, whatever the numbers in it."""
    causes: dict[str, list[tuple[Path, QsmxtError]]] = {}
    for path, error in failed:
        text = error.message.removeprefix(str(path))
        causes.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append((path, error))
    return list(causes.values())


def _as_well(others: list[tuple[Path, QsmxtError]]) -> str:
    if not others:
        return ""
    named = ", ".join(path.name for path, _ in others[:2])
    return f" So it is in {named}{f' and {len(others) - 2} more' if others[2:] else ''}."


def _assemble_coils(images: Sequence[ImageFile], sidecars: Sidecars, wanted: frozenset[int]) -> Acquisition:
    """Make one acquisition of all coils, which have to agree in echo times and place."""
    coils: dict[str | None, list[ImageFile]] = {}
    for image in images:
        coils.setdefault(image.entities.get("coil"), []).append(image)
    combined = coils.pop(None, None)
    if combined:
        return _assemble(combined, sidecars, wanted)
    scans = [_assemble(coil, sidecars, wanted) for coil in coils.values()]
    first, *others = scans
    for other in others:
        same_place = first.shape == other.shape and np.allclose(first.affine, other.affine, atol=1e-3)
        if first.echo_times != other.echo_times or not same_place:
            raise UnusableData(
                f"{other.files[0]}: another grid or other echo times than {first.files[0].name}.",
                "All coils of a scan must agree.",
            )
    return replace(first, coils=tuple(coil for one in scans for coil in one.coils or (one.echoes,)))


def _assemble(images: Sequence[ImageFile], sidecars: Sidecars, wanted: frozenset[int]) -> Acquisition:
    pairs = _pair_parts(images, wanted)
    files = [path for pair in pairs for path in pair.files]
    headers = _for_each(files, read_header)
    metadata = _for_each(files, sidecars.metadata)
    _check_grids([headers[path] for path in files])
    times = _for_each(files, lambda path: echo_time_of(metadata[path], path))
    magnitude, phase = pairs[0].first, pairs[0].second
    uncombined = is_uncombined(metadata[phase], images[0].entities)
    coils, guesses = _coils(pairs, headers[magnitude], times, uncombined)
    if wanted:
        coils = tuple(_chosen(echoes, wanted) for echoes in coils)
    strength = field_strength_of(metadata[magnitude] | metadata[phase], phase)
    readout = readout_of(metadata[phase], [echo.number for echo in coils[0]])
    found = _acquisition(images, coils[0], headers[magnitude], metadata[phase], strength, readout)
    return replace(found, coils=coils if len(coils) > 1 else (), warnings=found.warnings + guesses)


def _acquisition(
    images: Sequence[ImageFile],
    echoes: tuple[Echo, ...],
    header: ImageHeader,
    metadata: dict[str, Any],
    strength: tuple[float, tuple[str, ...]],
    readout: tuple[bool | None, tuple[str, ...]],
) -> Acquisition:
    entities = {
        key: value for key, value in images[0].entities.items() if key not in {"echo", "part", "coil"}
    }
    units = metadata.get("Units")
    complex_parts = {image.part for image in images}.isdisjoint({"phase"})
    x, y, z = header.shape[:3]
    return Acquisition(
        subject=entities["sub"],
        session=entities.get("ses"),
        entities={key: value for key, value in entities.items() if key not in {"sub", "ses"}},
        suffix=images[0].suffix,
        echoes=echoes,
        field_strength=strength[0],
        affine=header.affine,
        shape=(x, y, z),
        voxel_size=header.voxel_size,
        b0_direction=b0_direction(header.scanner_affine),
        bipolar=readout[0],
        phase_units=None if complex_parts or units is None else str(units),
        complex_parts=complex_parts,
        oriented=header.oriented,
        warnings=header.warnings + strength[1] + readout[1] + filter_warnings(metadata),
        output_entities=entities,
        metadata=metadata,
    )


def _chosen(echoes: tuple[Echo, ...], wanted: frozenset[int]) -> tuple[Echo, ...]:
    # an image without echo- in its name is one echo, whichever it is
    chosen = tuple(echo for echo in echoes if echo.number in wanted or not echo.index)
    if not chosen:
        raise UnusableData(
            f"{echoes[0].magnitude}: {len(echoes)} echoes, none of those that --echoes selects.",
            "Select others.",
        )
    return chosen


@dataclass(frozen=True)
class _Pair:
    """Magnitude and phase, or real and imaginary part, and the number in their names."""

    first: Path
    second: Path
    number: int

    @property
    def files(self) -> tuple[Path, Path]:
        return self.first, self.second


def _pair_parts(images: Sequence[ImageFile], wanted: frozenset[int]) -> list[_Pair]:
    """Pair the files of a scan, in the order of the echo numbers."""
    parts = {image.part for image in images}
    first, second = _CARTESIAN if "phase" not in parts and parts & set(_CARTESIAN) else _POLAR
    files: dict[str, dict[int | None, Path]] = {first: {}, second: {}}
    for image in images:
        if image.part not in files:
            continue
        if image.echo in files[image.part]:
            raise UnusableData(
                f"{image.path}: the same image as {files[image.part][image.echo].name}.",
                "Remove one of the two.",
            )
        files[image.part][image.echo] = image.path
    for part, other in ((first, second), (second, first)):
        if not files[part]:
            name = next(iter(files[other].values()))
            raise UnusableData(
                f"{name}: no {_PART_NAMES[part]} image (part-{part}) belongs to it.",
                "QSM needs magnitude and phase of every echo; export or convert both.",
            )
    for part, other in ((first, second), (second, first)):
        missing = sorted(_number(echo) for echo in files[other].keys() - files[part].keys())
        if missing:
            listed = ", ".join(f"echo-{echo}" if echo else "the image without echo-" for echo in missing)
            there = next(iter(files[other].values()))
            raise UnusableData(
                f"{there}: {listed} has no {_PART_NAMES[part]} image (part-{part}).",
                "Convert or fetch it, or remove that echo.",
            )
    echoes = sorted(files[first], key=_number)
    if not wanted:
        _check_echo_numbers(echoes, files[first])
    return [_Pair(files[first][echo], files[second][echo], 1 if echo is None else echo) for echo in echoes]


def _number(echo: int | None) -> int:
    return 0 if echo is None else echo


def _check_echo_numbers(echoes: Sequence[int | None], files: dict[int | None, Path]) -> None:
    numbers = [echo for echo in echoes if echo is not None]
    if numbers and len(numbers) < len(echoes):
        raise UnusableData(f"{files[None]}: has no echo- in its name, but other echoes have.", "Rename it.")
    start = min(numbers, default=1)
    gaps = sorted(set(range(min(start, 1), max(numbers, default=0) + 1)) - set(numbers))
    if gaps:
        raise UnusableData(
            f"{files[numbers[0]]}: {', '.join(f'echo-{gap}' for gap in gaps)} is missing, "
            f"echo-{numbers[-1]} is there.",
            "Convert or fetch it; if it was left out on purpose, number the echoes from 1.",
        )


def _check_grids(headers: Sequence[ImageHeader]) -> None:
    first = headers[0]
    for header in headers[1:]:
        if header.shape != first.shape:
            shapes = ["x".join(map(str, one.shape)) for one in (header, first)]
            raise UnusableData(
                f"{header.path}: shape {shapes[0]}, but {shapes[1]} for {first.path.name}.",
                "Magnitude and phase of all echoes must come from one scan, not resampled.",
            )
        if not same_grid(first, header):
            raise UnusableData(
                f"{header.path}: another position or orientation than {first.path.name}.",
                "Magnitude and phase of all echoes must come from one scan, not moved or resampled.",
            )


def _separate_echoes(
    pairs: Sequence[_Pair], times: Mapping[Path, float | list[float] | None]
) -> tuple[Echo, ...]:
    of_pair = {pair.first: {path: _single_time(times[path]) for path in pair.files} for pair in pairs}
    agreed = _for_each(of_pair, lambda path: agreed_echo_time(of_pair[path]))
    check_ascending(list(agreed.values()), list(agreed))
    return tuple(Echo(*pair.files, agreed[pair.first], pair.number) for pair in pairs)


def _single_time(time: float | list[float] | None) -> float | None:
    if isinstance(time, list):
        return time[0] if len(time) == 1 else None
    return time


def _coils(
    pairs: Sequence[_Pair],
    header: ImageHeader,
    times: Mapping[Path, float | list[float] | None],
    uncombined: bool,
) -> tuple[tuple[tuple[Echo, ...], ...], tuple[str, ...]]:
    """Return the echoes of each coil, one coil where they are combined, and what was guessed."""
    extra = header.shape[3:]
    if not extra:
        return (_separate_echoes(pairs, times),), ()
    pair = pairs[0]
    listed = next((time for time in (times[path] for path in pair.files) if isinstance(time, list)), None)
    if listed is not None and (len(pairs) > 1 or len(listed) == 1):
        listed = None
    try:
        axis = find_coil_axis(extra, len(listed) if listed else None, uncombined=uncombined)
    except ValueError as error:
        raise UnusableData(*_unknown_axes(pair.first, header.shape, listed)) from error
    if listed:
        check_ascending(listed, [pair.first] * len(listed))
        echoes = tuple(Echo(*pair.files, time, number) for number, time in enumerate(listed, 1))
    else:
        echoes = _separate_echoes(pairs, times)
    guessed = len(extra) == 2 and not uncombined
    return coils_of(echoes, extra, axis), (FIFTH_AXIS,) if guessed else ()


def _unknown_axes(path: Path, shape: Sequence[int], times: list[float] | None) -> tuple[str, str]:
    """Say why the axes of an image cannot be told apart, and what would tell."""
    told = f"a list of {len(times)} echo times" if times else "one echo time or none"
    volumes = "x".join(map(str, shape[3:]))
    what = f"{path}: {volumes} volumes in one file ({len(shape)}D), but {told}"
    if times and len(shape) == 5 and len(times) == shape[3] == shape[4]:
        return f"{what}: echoes and coils cannot be told apart.", "Write one file a coil, named with coil-."
    return f"{what}.", SEVERAL_VOLUMES
