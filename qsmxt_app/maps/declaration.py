"""Declaration of a step that makes maps beside susceptibility: all that other modules need, in one object."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qsmxt_app.bibliography import Reference

Wording = str | Callable[[Mapping[str, Any]], str]
"""A text, or a function of the settings of a scan, by name, that gives it."""


def worded(text: Wording, settings: Mapping[str, Any]) -> str:
    """Return a text as it is under some settings."""
    return text if isinstance(text, str) else text(settings)


@dataclass(frozen=True)
class Scan:
    """What is known of a scan, for the functions that compute maps.

    Attributes
    ----------
    echo_times
        s, ascending.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    field_strength
        T.
    threads
        Cores; no result may depend on it.
    settings
        Values of the settings that the step names.
    """

    echo_times: tuple[float, ...]
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]
    field_strength: float
    threads: int = 1
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Computed:
    """Maps by the name of their output, and what the record and the sidecars tell about them."""

    maps: Mapping[str, Any]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Need:
    """Memory and relative duration of a step, per voxel of the image.

    Attributes
    ----------
    bytes_per_voxel
        Peak memory that does not depend on the number of echoes.
    bytes_per_voxel_and_echo
        Peak memory that grows with every echo.
    cost
        Duration for a million voxels, relative to other steps, for the time that is left.
    threaded
        Whether the step gets faster with more than one core.
    least_gb
        Memory that the step needs for an image of any size.
    """

    bytes_per_voxel: float
    bytes_per_voxel_and_echo: float
    cost: float
    threaded: bool = True
    least_gb: float = 0.0


@dataclass(frozen=True)
class Output:
    """A derivative image of a step.

    Attributes
    ----------
    suffix, desc, datatype
        Of the BIDS name.
    units
        None for masks.
    algorithm
        `EstimationAlgorithm` of the sidecar.
    steps
        Other steps whose parameters and results the sidecar tells as well.
    each_echo
        Whether there is a file for each echo, whose number follows `desc`.
    """

    suffix: str
    desc: str | None = None
    datatype: str = "anat"
    units: str | None = None
    algorithm: Wording = ""
    steps: tuple[str, ...] = ()
    each_echo: bool = False


@dataclass(frozen=True)
class MeasuredOutput(Output):
    """A derivative image whose values are measured in regions: in `stats.tsv`, and in the tables of a group.

    Attributes
    ----------
    title
        Of its values, on the page of a group: `R2*`.
    quantity
        What the values are, in the sidecars of tables; the title where it is empty.
    relative
        Whether values are relative to the reference of chi.
    averaged
        Whether it is warped to the template of a group and averaged there.
    """

    title: str = ""
    quantity: str = ""
    relative: bool = False
    averaged: bool = False


@dataclass(frozen=True)
class View:
    """How an output is shown in the report.

    Attributes
    ----------
    output
        Its name.
    title
        Over the picture.
    limits
        Values of the first and the last colour, or a function of the field strength (T, None where it is not
        known) that gives them.
    unit
        Beside the colour bar.
    colours
        Name of a matplotlib colour map.
    logarithmic
        Whether colours follow the logarithm of the value.
    outside
        Whether voxels that are zero are outside the map, and black.
    """

    output: str
    title: str
    limits: tuple[float, float] | Callable[[float | None], tuple[float, float]]
    unit: str
    colours: str = "gray"
    logarithmic: bool = False
    caption: str = ""
    outside: bool = True


@dataclass(frozen=True)
class Shown:
    """The panel of a step in the report.

    Attributes
    ----------
    title
        Heading; empty for views that are added to the panel of susceptibility.
    missing
        What the page names where the panel cannot be made: `R2* map`.
    text
        How to read it, in a sentence or two.
    """

    views: tuple[View, ...]
    title: str = ""
    missing: str = ""
    text: str = ""


@dataclass(frozen=True)
class Switch:
    """The setting by which a step is switched on and off.

    Attributes
    ----------
    default
        Whether it is on; one of the choices where there are any.
    text
        For the help page.
    choices
        Ways of making the maps, by their names; the first leaves them out.
    """

    default: bool | str
    text: str
    choices: tuple[str, ...] = ()

    def is_on(self, value: object) -> bool:
        """Whether a value of the setting asks for the maps."""
        return value in self.choices[1:] if self.choices else value is True


@dataclass(frozen=True)
class MapStep:
    """A step that makes maps beside susceptibility.

    Attributes
    ----------
    name
        Of the step and of the setting that switches it: `--swi`, `--no-swi`.
    compute
        Function of a `Scan` and, by keyword, of the images that it needs; gives a `Computed`. The keywords
        are names of `IMAGES`, or of outputs of maps that stand above in the registry. Those with a default
        are images that not every scan has. It imports what it computes with itself, so that reading the
        registry is cheap.
    outputs
        By the names that `compute` gives to its maps.
    need
        Memory and time.
    sentence
        For the methods text, with citations as `[@key]`.
    details
        Function of the settings and of the facts of the step, by their names, that gives what of the methods
        text depends on them; None where nothing does.
    shown
        Its panel in the report; None for none.
    switch
        None for a step that always runs.
    fewest_echoes
        Scans with fewer do not have it.
    only
        Settings, and the values that they must have for it to be made.
    settings
        Further settings that it depends on: given to `compute`, and told by the sidecar.
    papers
        Publications that `sentence` cites and that `report/references.toml` lacks.
    """

    name: str
    compute: Callable[..., Computed]
    outputs: Mapping[str, Output]
    need: Need
    sentence: Wording = ""
    details: Callable[[Mapping[str, Any], Mapping[str, Any]], str] | None = None
    shown: Shown | None = None
    switch: Switch | None = None
    fewest_echoes: int = 1
    only: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: tuple[str, ...] = ()
    papers: tuple[Reference, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the images that it is computed from."""
        return self._keywords(optional=False)

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of the images that it uses where the scan has them."""
        return self._keywords(optional=True)

    def _keywords(self, *, optional: bool) -> tuple[str, ...]:
        parameters = inspect.signature(self.compute).parameters.values()
        keywords = (one for one in parameters if one.kind is one.KEYWORD_ONLY)
        return tuple(one.name for one in keywords if (one.default is not one.empty) is optional)

    def methods_text(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
        """Return its part of the methods text."""
        details = self.details(settings, facts) if self.details else ""
        return f"{worded(self.sentence, settings)} {details}".strip()

    def made(self, settings: Mapping[str, Any], echoes: int) -> bool:
        """Whether a scan with so many echoes has its maps under some settings, by name."""
        chosen = self.switch is None or self.switch.is_on(settings.get(self.name))
        return chosen and echoes >= self.fewest_echoes and self.only.items() <= dict(settings).items()

    def why_not(self, settings: Mapping[str, Any], echoes: int) -> str:
        """Say why a scan does not have its maps; empty where it does."""
        flag = self.name.replace("_", "-")
        if self.switch is not None and settings.get(self.name) is False:
            return f"--no-{flag}"
        if self.switch is not None and self.switch.choices and not self.switch.is_on(settings.get(self.name)):
            return f"--{flag} {self.switch.choices[0]}"
        for name, value in self.only.items():
            if name in settings and settings[name] != value:
                return f"--{name.replace('_', '-')} {settings[name]}"
        if 0 < echoes < self.fewest_echoes:
            return f"it needs at least {_COUNTS.get(self.fewest_echoes, self.fewest_echoes)} echoes"
        return ""


_COUNTS = {2: "two", 3: "three"}

IMAGES = {
    "magnitude": "all echoes, (x, y, z, echo)",
    "phase": "all echoes, (x, y, z, echo), rad",
    "object_mask": "where there is signal, before the field is known",
    "total_field": "Hz",
    "field_noise": "standard error of the total field, Hz",
    "random_noise": "standard deviation of the total field over repeated scans, Hz",
    "laplacian": "of the field, or (x, y, z, echo) of that of each echo, ppm/mm^2",
    "laplacian_noise": "standard error of the field that the Laplacian is of, ppm",
    "tissue_mask": "where the signal is tissue's",
    "field_mask": "where the total field is known",
    "chi": "susceptibility, ppm, relative to its reference",
    "mask": "where susceptibility is reported",
    "r2": "R2 on the grid of the scan, 1/s, 0 where it was not measured; for scans with images of it",
}
"""What maps can be computed from; names that end in `mask` are given as booleans."""
