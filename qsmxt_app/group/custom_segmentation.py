"""Names of the labels of a custom segmentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from qsmxt_app.segment.regions import Region, split_hemisphere

# IDX  R G B  A  VIS MSH  "LABEL", as ITK-SNAP exports label descriptions
_LINE = re.compile(r'\s*(\d+)\s+(?:\d+\s+){3}[\d.]+\s+[01]\s+[01]\s+"(.*)"\s*')


def is_label_description(text: str) -> bool:
    """Whether a text is a label description file of ITK-SNAP."""
    content = _content(text)
    return bool(content) and all(_LINE.fullmatch(line) for line in content)


def read_label_description(text: str) -> tuple[Region, ...]:
    """Read the names of labels from a label description file of ITK-SNAP.

    Parameters
    ----------
    text
        Content of the file.

    Returns
    -------
    tuple of Region
        Without 0, which is background ("Clear Label").

    Raises
    ------
    ValueError
        A line that cannot be understood, or one index with two names.

    Examples
    --------
    >>> read_label_description('1 255 0 0 1 1 1 "Left putamen"')
    (Region(index=1, name='putamen', hemisphere='L', kind=''),)
    """
    names: dict[int, str] = {}
    for line in _content(text):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"the line {line.strip()!r:.60} describes no label")
        index, name = int(match[1]), match[2].strip()
        if names.setdefault(index, name) != name:
            raise ValueError(f"label {index} has two names, {names[index]} and {name}")
    return tuple(_region(index, name) for index, name in sorted(names.items()) if index)


def custom_regions(names: Iterable[Region], found: Iterable[int]) -> tuple[Region, ...]:
    """Return the regions of the labels found, in order; one without a name is called by its number.

    Raises
    ------
    ValueError
        There is no label, or one below 0.
    """
    known: Mapping[int, Region] = {region.index: region for region in names}
    custom = sorted({int(index) for index in found} - {0})
    if not custom:
        raise ValueError("it contains no label but 0")
    if custom[0] < 0:
        raise ValueError(f"it holds the label {custom[0]}; labels are above 0")
    return tuple(known.get(index, Region(index, f"label {index}")) for index in custom)


def _region(index: int, name: str) -> Region:
    return Region(index, *(split_hemisphere(name) if name else (f"label {index}", "")))


def _content(text: str) -> list[str]:
    lines = text.removeprefix("\ufeff").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
