"""What one gradient-echo acquisition is: its files, echo times, field and geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from qsmxt_app.errors import QsmxtError

_OF_DERIVATIVES = {"desc", "space", "label", "res", "den", "echo", "part"}
"""Entities that tell images of one scan apart."""


@dataclass(frozen=True)
class Echo:
    """The images of one echo: magnitude and phase, or real and imaginary part.

    Attributes
    ----------
    magnitude, phase
        Files; where the scanner saved complex parts (`Acquisition.complex_parts`), these are the real and
        the imaginary part, in this order, which `load_acquisition` turns into magnitude and phase.
    echo_time
        In seconds.
    number
        In the raw data, from 1, whichever echoes take part.
    index
        Place of the volume along the axes behind x, y and z where a file holds several; else empty.
    """

    magnitude: Path
    phase: Path
    echo_time: float
    number: int = 1
    index: tuple[int, ...] = ()


@dataclass(frozen=True)
class R2Images:
    """Where R2 of a scan comes from.

    Attributes
    ----------
    kind
        Suffix of the files.
    files
        One map, or a file an echo; one file holds all echoes where there are more times than files.
    echo_times
        s, ascending; empty for maps.
    scale
        What the values of a map are multiplied with to be in s (`T2map`) or 1/s (`R2map`).
    """

    kind: Literal["R2map", "T2map", "MESE"]
    files: tuple[Path, ...]
    echo_times: tuple[float, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Acquisition:
    """All echoes of one scan, from which one susceptibility map is made.

    Attributes
    ----------
    subject, session
        Labels without ``sub-`` and ``ses-``; session is None where the dataset has none.
    entities
        Other entities of the file names, without ``echo`` and ``part``.
    suffix
        ``MEGRE`` or ``T2starw``.
    echoes
        In the order of their echo times.
    field_strength
        B0 in T.
    affine
        (4, 4), voxel indices to world mm, of the images and of all maps made from them.
    shape
        (x, y, z).
    voxel_size
        (x, y, z) in mm.
    b0_direction
        Unit vector of the scanner's z in voxel axes.
    bipolar
        Whether even echoes are read in the other direction; None where the sidecars do not say.
    phase_units
        ``rad``, ``arbitrary``, or None where the sidecars do not say.
    complex_parts
        True where the files are real and imaginary parts, not magnitude and phase.
    coils
        Echoes of each coil where these were saved uncombined (`echoes` are those of the first then).
    oriented
        Whether the headers say how the voxel axes lie in the scanner; if not, no map says so either.
    t1w
        T1-weighted image of the same session or, with a warning, of another one.
    r2
        Images of the same session from which R2 is found.
    r2_problems
        Why others, that are there, are not used.
    warnings
        What a user should know; shown in the report.
    output_entities
        Entities that name what is made from this acquisition, ``sub`` and ``ses`` included.
    metadata
        Merged sidecar of the first echo's phase.
    """

    subject: str
    session: str | None
    entities: dict[str, str]
    suffix: str
    echoes: tuple[Echo, ...]
    field_strength: float
    affine: np.ndarray
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]
    bipolar: bool | None = None
    phase_units: str | None = None
    complex_parts: bool = False
    coils: tuple[tuple[Echo, ...], ...] = ()
    oriented: bool = True
    t1w: Path | None = None
    r2: R2Images | None = None
    r2_problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    output_entities: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Start of the names of everything made from this acquisition: ``sub-01_ses-A_run-1``."""
        return "_".join(f"{key}-{value}" for key, value in self.output_entities.items())

    @property
    def label(self) -> str:
        """Name for people: ``sub-01 ses-A run-1 MEGRE (5 echoes)``."""
        number = len(self.echoes)
        echoes = "1 echo" if number == 1 else f"{number} echoes"
        return f"{self.stem.replace('_', ' ')} {self.suffix} ({echoes})"

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Echo times in seconds, ascending."""
        return tuple(echo.echo_time for echo in self.echoes)

    @property
    def echo_numbers(self) -> tuple[int, ...]:
        """Numbers of the echoes in the raw data, from 1, whichever of them take part."""
        return tuple(echo.number for echo in self.echoes)

    @property
    def coils_share_files(self) -> bool:
        """Whether uncombined coils are volumes of the same files, not files of their own."""
        return len({coil[0].magnitude for coil in self.coils}) < len(self.coils)

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files, each once."""
        echoes = [echo for coil in self.coils or (self.echoes,) for echo in coil]
        return tuple(dict.fromkeys(path for echo in echoes for path in (echo.magnitude, echo.phase)))

    def shared_entities(self, entities: Mapping[str, str]) -> int | None:
        """Return how many entities a derivative shares with this scan; None where it is of another scan."""
        own = {key: label for key, label in entities.items() if key not in _OF_DERIVATIVES}
        return len(own) if own.items() <= self.output_entities.items() else None

    def problem(self, error: QsmxtError) -> Problem:
        """Return an error as the reason why this scan has no map."""
        return Problem(self.subject, self.session, self.files[0], error.message, error.hint, error.exit_code)


@dataclass(frozen=True)
class Problem:
    """Why no map can be made from some data, collected so that the rest still runs.

    Attributes
    ----------
    subject, session
        Whose data.
    file
        The file to look at, where one is to blame.
    message
        One line with the file, and what is wrong.
    hint
        What to do.
    exit_code
        The documented code of this kind of problem.
    """

    subject: str
    session: str | None
    file: Path | None
    message: str
    hint: str
    exit_code: int

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True)
class Found:
    """Acquisitions to run, problems that fail the run, and notes on what was left out."""

    acquisitions: tuple[Acquisition, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
