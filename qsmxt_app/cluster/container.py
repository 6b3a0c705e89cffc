"""Calling the image again from a job, where this process runs inside a Singularity or Apptainer image."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

IMAGE_VARIABLES = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
BIND_VARIABLES = ("APPTAINER_BIND", "APPTAINER_BINDPATH", "SINGULARITY_BIND", "SINGULARITY_BINDPATH")


@dataclass(frozen=True)
class Bind:
    """A folder of the host and where the image sees it."""

    source: str
    target: str
    options: str = ""

    @property
    def text(self) -> str:
        """As `--bind` takes it."""
        return ":".join(filter(None, (self.source, self.target, self.options)))


@dataclass(frozen=True)
class Image:
    """An image that jobs call again, with the folders that it is given."""

    path: str
    binds: tuple[Bind, ...]

    def host_path(self, path: Path) -> Path:
        """Return where the host has a path of the image: below a bind, or else in the same place."""
        for bind in sorted(self.binds, key=lambda bind: len(bind.target), reverse=True):
            if path.is_relative_to(bind.target):
                return Path(bind.source) / path.relative_to(bind.target)
        return path

    def command(self, folders: tuple[Path, ...]) -> str:
        """Return the shell words that stand for `qsmxt` on the host.

        Parameters
        ----------
        folders
            Folders that the image must see, added to its binds where no bind covers them.
        """
        missing = [
            Bind(str(folder), str(folder))
            for folder in folders
            if folder != Path("/") and not any(folder.is_relative_to(bind.target) for bind in self.binds)
        ]
        binds = " ".join(f"--bind {shlex.quote(bind.text)}" for bind in (*self.binds, *missing))
        return f'"$container" exec {binds} {shlex.quote(self.path)} qsmxt'


def image_of(environment: Mapping[str, str] = os.environ) -> Image | None:
    """Return the image that this process runs in; None outside of any.

    Binds are read from the variables that Singularity and Apptainer set; `host:image:options`, separated by
    commas.
    """
    path = next((environment[name] for name in IMAGE_VARIABLES if environment.get(name)), None)
    if path is None:
        return None
    texts = dict.fromkeys(
        text for name in BIND_VARIABLES for text in _split(environment.get(name, "")) if text
    )
    return Image(path, tuple(_bind(text) for text in texts))


def _split(binds: str) -> list[str]:
    """Split at commas that begin another path; options such as `ro,nosuid` hold commas too."""
    parts: list[str] = []
    for part in binds.split(","):
        if parts and not part.startswith(("/", "~", ".")):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _bind(text: str) -> Bind:
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    return Bind(source, str(PurePosixPath(target or source)), options)
