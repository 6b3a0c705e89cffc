"""What the program knows of a single step that is a command on NIfTI files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

IMAGES = {
    "magnitude": "magnitude image(s): one per echo, or one 4-D image",
    "phase": "phase image(s): one per echo, or one 4-D image; in rad or as a scanner stores it",
    "mask": "mask of the voxels to use",
    "field": "field map, Hz (or ppm, with --units ppm)",
    "noise": "standard error of the field map, in its units",
    "chi": "susceptibility, ppm",
    "r2": "R2 on the grid of the other images, 1/s; 0 where it was not measured",
}
"""Images that commands take, by the name of their option."""
ECHOES = ("magnitude", "phase")
"""Those with an echo axis, (x, y, z, echo)."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a command was given.

    Attributes
    ----------
    images
        By name, as in `IMAGES`: echoes as (x, y, z, echo), phase in rad, masks as booleans, fields in ppm.
    echo_times
        s, ascending; empty where the command needs none.
    field_strength
        T; 0 where the command needs none.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    options
        The command's own options.
    threads
        Cores; no result depends on it.
    """

    images: Mapping[str, Any]
    echo_times: tuple[float, ...]
    field_strength: float
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]
    options: Mapping[str, Any]
    threads: int

    @property
    def geometry(self) -> dict[str, Any]:
        """Voxel size and direction of B0, as keywords."""
        return {"voxel_size": self.voxel_size, "b0_direction": self.b0_direction}


@dataclass(frozen=True, eq=False)
class Made:
    """Images by the name of their output, and what the sidecar tells about them."""

    images: Mapping[str, Any]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """An option of one command: its type is that of its default."""

    name: str
    default: str | float | int | bool
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A step as a command.

    Attributes
    ----------
    help
        In the list of commands, a few words.
    compute
        Gives a `Made`. It imports what it computes with itself, so that `--help` is quick.
    outputs
        Unit of each image: the first is the one that `-o` names, the others are written beside it.
    needs, takes
        Images that must be given, and those that may be.
    echo_times, field_strength
        Whether it depends on them.
    """

    help: str
    compute: Callable[[Given], Made]
    outputs: Mapping[str, str]
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    echo_times: bool = False
    field_strength: bool = False
    options: tuple[Option, ...] = ()
