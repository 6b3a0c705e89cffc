"""Names of converted images: an entity only where it is needed, and no name ever changes.

Acquisitions are distinguished by ``acq-`` and ``rec-`` where their protocols differ, and by ``run-`` where
they do not. An acquisition that a dataset holds keeps its name whatever arrives later: a repetition of one
that has no number becomes ``run-2`` beside it, and a second protocol gets its ``acq-`` alone.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from qsmxt_app.convert.converted_image import ConvertedImage

FIELD_MAP = "fieldmap"
MP2RAGE = "mp2rage"
MAXIMUM_LABEL = 60

Bucket = tuple[str, str | None, str]
Protocol = tuple[str | None, str | None]
# letters that are not a base letter with an accent
_LETTERS = str.maketrans({
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th",
})  # fmt: skip
_KEEPS = ((False, False), (True, False), (False, True), (True, True))


@dataclass(frozen=True)
class NamedAcquisition:
    """An acquisition that a dataset holds.

    Attributes
    ----------
    bucket
        From `bucket_of`.
    key
        `group_key` of what it was made from; None where it is not known.
    protocol
        Labels of acquisition and reconstruction, whether its name has them or not.
    entities
        Those of ``acq``, ``rec`` and ``run`` that its name has.
    """

    bucket: Bucket
    key: str | None
    protocol: Protocol
    entities: Mapping[str, str]


def legal_label(text: str) -> str:
    """Make a label that BIDS allows: accents removed, and everything but letters and digits.

    Examples
    --------
    >>> legal_label("Müller, Zoë ../2"), legal_label("Strauß-Łoś")
    ('MullerZoe2', 'StraussLos')
    """
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9A-Za-z]", "", plain)[:MAXIMUM_LABEL]


def group_key(group: str) -> str:
    """Short digest of a group, which may hold numbers that identify a person's scan."""
    return hashlib.sha256(group.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def bucket_of(subject: str, session: str | None, suffix: str, datatype: str) -> Bucket:
    """Within what names must differ: person, session and kind, the images of a field map being one kind."""
    kind = FIELD_MAP if datatype == "fmap" else MP2RAGE if suffix in {"UNIT1", "MP2RAGE"} else suffix
    return subject, session, kind


def protocol_of(image: ConvertedImage) -> Protocol:
    """Labels of acquisition and reconstruction; a field map cannot have the latter in its name."""
    if image.datatype == "fmap" and image.reconstruction:
        return f"{image.acquisition or ''}{image.reconstruction}", None
    return image.acquisition or None, image.reconstruction or None


def name_images(
    images: Sequence[ConvertedImage], existing: Iterable[NamedAcquisition] = ()
) -> list[dict[str, str]]:
    """Give each image the entities of its name.

    Parameters
    ----------
    images
        All images of a conversion.
    existing
        What the dataset holds.

    Returns
    -------
    list of dict
        Short keys (``sub``, ``ses``, ``acq``, ``rec``, ``run``, ``echo``, ``inv``, ``part``) and labels, in
        the order of `images`.
    """
    groups: dict[Bucket, dict[str, list[ConvertedImage]]] = {}
    for image in images:
        groups.setdefault(image_bucket(image), {}).setdefault(group_key(image.group), []).append(image)
    held: dict[Bucket, list[NamedAcquisition]] = {}
    for one in existing:
        held.setdefault(one.bucket, []).append(one)
    common = {bucket: _name_groups(found, held.get(bucket, [])) for bucket, found in groups.items()}
    return [
        _entities_of_person(image) | common[image_bucket(image)][group_key(image.group)] | _within(image)
        for image in images
    ]


def image_bucket(image: ConvertedImage) -> Bucket:
    """`bucket_of` an image."""
    return bucket_of(image.subject, image.session, image.suffix, image.datatype)


def _entities_of_person(image: ConvertedImage) -> dict[str, str]:
    return {"sub": image.subject} | ({} if image.session is None else {"ses": image.session})


def _within(image: ConvertedImage) -> dict[str, str]:
    """Entities that differ within an acquisition."""
    entities: dict[str, str] = {}
    if image.datatype == "fmap":
        return entities
    if image.echo is not None:
        entities["echo"] = str(image.echo)
    if image.inversion is not None:
        entities["inv"] = str(image.inversion)
    # a T1w without part- is what every other tool looks for
    if image.part is not None and (image.part != "mag" or image.suffix in {"MEGRE", "T2starw"}):
        entities["part"] = image.part
    return entities


def _name_groups(
    groups: Mapping[str, Sequence[ConvertedImage]], held: Sequence[NamedAcquisition]
) -> dict[str, dict[str, str]]:
    """Entities that all images of a group share, for the groups of one bucket."""
    named = {one.key: dict(one.entities) for one in held if one.key in groups}
    new = sorted((key for key in groups if key not in named), key=lambda key: _when(groups[key]))
    labels = _labels([protocol_of(groups[key][0]) for key in new], held)
    repeated: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key in new:
        repeated.setdefault(tuple(labels[protocol_of(groups[key][0])].items()), []).append(key)
    for name, keys in repeated.items():
        taken = {_run_number(one) for one in held if _without_run(one.entities) == dict(name)}
        runs = _number({key: groups[key][0].run for key in keys}, taken)
        named |= {key: dict(name) | runs[key] for key in keys}
    return {key: named[key] for key in groups}


def _when(images: Sequence[ConvertedImage]) -> tuple[datetime, str]:
    times = [image.acquired.replace(tzinfo=None) for image in images if image.acquired]
    return min(times, default=datetime.max), images[0].group


def _labels(
    protocols: Sequence[Protocol], held: Sequence[NamedAcquisition]
) -> dict[Protocol, dict[str, str]]:
    """Shortest ``acq-`` and ``rec-`` that distinguish protocols; one that is held keeps those it has."""
    chosen: dict[Protocol, dict[str, str]] = {}
    for one in held:
        chosen.setdefault(one.protocol, _without_run(one.entities))
    new = [protocol for protocol in dict.fromkeys(protocols) if protocol not in chosen]
    if not held:
        keep = next(keep for keep in _KEEPS if len({_shown(one, keep) for one in new}) == len(new))
        return {protocol: dict(_shown(protocol, keep)) for protocol in new}
    for protocol in new:
        taken = list(chosen.values())
        options = [dict(_shown(protocol, keep)) for keep in _KEEPS]
        chosen[protocol] = next((option for option in options if option not in taken), options[-1])
    return chosen


def _shown(protocol: Protocol, keep: tuple[bool, bool]) -> tuple[tuple[str, str], ...]:
    pairs = zip(("acq", "rec"), protocol, keep, strict=True)
    return tuple((key, label) for key, label, kept in pairs if label and kept)


def _number(runs: Mapping[str, int | None], taken: set[int]) -> dict[str, dict[str, str]]:
    """Numbers for acquisitions that would have the same name, in their order; none for a single one."""
    given = {run for run in runs.values() if run is not None}
    free = (number for number in count(1) if number not in taken | given)
    alone = len(runs) == 1 and not taken
    numbers = {key: run if run is not None else None if alone else next(free) for key, run in runs.items()}
    return {key: {} if number is None else {"run": str(number)} for key, number in numbers.items()}


def _run_number(one: NamedAcquisition) -> int:
    run = one.entities.get("run", "1")
    return int(run) if run.isdecimal() else 0


def _without_run(entities: Mapping[str, str]) -> dict[str, str]:
    return {key: label for key, label in entities.items() if key != "run"}
