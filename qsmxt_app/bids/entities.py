"""BIDS file names: taking them apart and putting them together in the order that BIDS prescribes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from bidsschematools.schema import load_schema

from qsmxt_app.errors import WrongUsage

IMAGE_EXTENSIONS = (".nii.gz", ".nii")

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_NAME = re.compile(
    r"(?P<entities>(?:[a-z]+-[0-9A-Za-z+]+_)+)(?P<suffix>[0-9A-Za-z]+)(?P<extension>\.[0-9A-Za-z.]+)"
)


@dataclass(frozen=True)
class FileName:
    """The parts of a BIDS file name; `entities` maps short keys (``sub``, ``acq``) to labels."""

    entities: dict[str, str]
    suffix: str
    extension: str


def parse_name(name: str) -> FileName | None:
    """Take a file name apart, or return None where it does not follow BIDS.

    Examples
    --------
    >>> parse_name("sub-01_echo-2_part-phase_MEGRE.nii.gz").entities
    {'sub': '01', 'echo': '2', 'part': 'phase'}
    >>> parse_name("notes.txt") is None
    True
    """
    # The root's inherited sidecars may have no entity at all (MEGRE.json).
    if match := re.fullmatch(r"(?P<suffix>[0-9A-Za-z]+)(?P<extension>\.json)", name):
        return FileName({}, match["suffix"], match["extension"])
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    pairs = [part.split("-") for part in match["entities"].rstrip("_").split("_")]
    entities = dict(pairs)
    if len(entities) != len(pairs):
        return None
    return FileName(entities, match["suffix"], match["extension"])


def build_name(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """Put a BIDS file name together, its entities in the order of the specification.

    Raises
    ------
    WrongUsage
        For an entity that BIDS does not know, or a label with other characters than letters, digits and
        plus signs (which is also what keeps a label from leaving its folder).

    Examples
    --------
    >>> build_name({"run": "1", "sub": "01", "desc": "qsm"}, "mask", ".nii.gz")
    'sub-01_run-1_desc-qsm_mask.nii.gz'
    """
    order = entity_order()
    for key, value in entities.items():
        if key not in order:
            raise WrongUsage(f"{key}-{value}: BIDS knows no entity {key!r}.")
        check_label(key, value)
    parts = [f"{key}-{entities[key]}" for key in order if key in entities]
    return "_".join([*parts, suffix]) + extension


def is_label(text: str) -> bool:
    """Whether a text can be the label of an entity."""
    return _LABEL.fullmatch(text) is not None


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts run-2 before run-10."""
    return [(int(digits or -1), word) for digits, word in re.findall(r"(\d+)|(\D+)", name)]


def check_label(key: str, label: str) -> str:
    """Return a label that is safe in a path, or raise `WrongUsage`."""
    if not is_label(label):
        raise WrongUsage(
            f"{key}-{label!s:.80}: a BIDS label has only letters, digits and '+'.", f"Rename {key}."
        )
    return label


def without_prefix(key: str, label: str) -> str:
    """Accept a label with or without its ``sub-`` (``ses-``, ...) and return it without, checked.

    Examples
    --------
    >>> without_prefix("sub", "sub-01")
    '01'
    """
    return check_label(key, label.strip().removeprefix(f"{key}-"))


@cache
def entity_order() -> tuple[str, ...]:
    """Short keys of all BIDS entities, in the order that file names give them."""
    schema = load_schema()
    keys = {entity: str(schema.objects.entities[entity].name) for entity in schema.rules.entities}
    return tuple(keys.values())


@cache
def derivative_entities(suffix: str, datatype: str) -> frozenset[str] | None:
    """Short keys that a derivative of this suffix may carry; None where BIDS does not define it."""
    schema = load_schema()
    allowed: set[str] = set()
    for rule in schema.rules.files.deriv.imaging.values():
        if suffix in rule.suffixes and datatype in rule.datatypes and "template" not in rule.entities:
            allowed |= {str(schema.objects.entities[entity].name) for entity in rule.entities}
    return frozenset(allowed) or None
