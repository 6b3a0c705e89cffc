"""A template that exists already: which images a folder holds, and what it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.headers import read_header, same_grid
from qsmxt_app.errors import NoInput
from qsmxt_app.settings import Settings

KINDS = {"magnitude": "T2starw", "t1w": "T1w", "chi": "Chimap", "mask": "mask"}
DEFAULT_NAME = "study"


@dataclass(frozen=True)
class ExistingTemplate:
    """A template that is left as it is: its name, and its images by kind, as far as it has them."""

    name: str
    images: dict[str, Path]


def read_template(settings: Settings) -> ExistingTemplate | None:
    """Find the template of `--template-from`; None where one is built.

    Raises
    ------
    NoInput
        The folder holds no image that a participant could be registered to.
    """
    folder = settings.template_from
    if folder is None:
        return None
    files = sorted([*folder.glob("tpl-*.nii*"), *folder.glob("anat/tpl-*.nii*")], key=_plainness)
    images: dict[str, Path] = {}
    for kind, suffix in KINDS.items():
        fits = [file for file in files if _fits(file, suffix)]
        first = next(iter(images.values()), None)
        if first is not None:
            fits = [file for file in fits if same_grid(read_header(file), read_header(first))]
        if fits:
            images[kind] = fits[0].absolute()
    if not {"magnitude", "t1w"} & images.keys():
        raise NoInput(
            f"--template-from {folder}: it holds neither tpl-*_T2starw nor tpl-*_T1w images.",
            "Give the folder of a template in BIDS style, such as OUTPUT_DIR/tpl-study.",
        )
    first = next(iter(images.values()))
    name = settings.template_name or first.name.split("_")[0].removeprefix("tpl-")
    return ExistingTemplate(name, images)


def _fits(file: Path, suffix: str) -> bool:
    stem = file.name.split(".")[0]
    desc = re.search(r"_desc-([0-9A-Za-z]+)_", stem)
    wanted = "brain" if suffix == "mask" else None
    return stem.endswith(f"_{suffix}") and (desc[1] if desc else None) == wanted


def _plainness(file: Path) -> tuple[int, str]:
    return file.name.count("_"), file.name
