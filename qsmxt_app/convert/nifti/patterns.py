"""What the path of a NIfTI file tells: BIDS names, the user's own patterns, and usual words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import get_args

from qsmxt_app.bids.entities import parse_name
from qsmxt_app.convert.converted_image import ANATOMICAL, Part, Suffix
from qsmxt_app.errors import WrongUsage
from qsmxt_app.settings.text import nearest

ENTITIES = (
    "subject",
    "session",
    "acquisition",
    "reconstruction",
    "run",
    "echo",
    "part",
    "suffix",
    "echo_time",
    "field_strength",
)
GRADIENT_ECHO = "gradient-echo"
"""A suffix to be decided when the number of echoes is known."""
IGNORE = "ignore"
SUFFIXES = (*sorted(ANATOMICAL), *(suffix for suffix in get_args(Suffix) if suffix not in ANATOMICAL))
PARTS = get_args(Part)

_BIDS_KEYS = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "rec": "reconstruction",
    "run": "run",
    "echo": "echo",
    "part": "part",
}
_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_LABEL = r"(?:[-_ ]([0-9A-Za-z+]+)|(\d[0-9A-Za-z]*))"
# tried on the path, the last match counts: the nearest to the file
_USUAL: Mapping[str, tuple[str, ...]] = {
    "subject": (rf"{_START}sub(?:ject|j)?{_LABEL}", rf"{_START}pat(?:ient)?[-_ ]?(\d[0-9A-Za-z]*)"),
    "session": (rf"{_START}ses(?:sion)?{_LABEL}", rf"{_START}(?:visit|timepoint|tp)[-_ ]?(\d+){_END}"),
    "acquisition": (rf"{_START}acq-([0-9A-Za-z+]+)",),
    "reconstruction": (rf"{_START}rec-([0-9A-Za-z+]+)",),
    "run": (rf"{_START}run[-_ ]?(\d+){_END}",),
    "echo": (r"(?<![A-Za-z])echo[-_ ]?(\d+)(?!\d)", rf"{_START}e(\d{{1,2}}){_END}"),
    "echo_time": (r"(?<![A-Za-z])TE[-_= ]?(\d+(?:\.\d+)?)[-_ ]?ms(?![a-z])",),
    "field_strength": (
        rf"{_START}(\d+(?:\.\d+)?)[-_ ]?T{_END}",
        rf"{_START}(\d+(?:\.\d+)?)[-_ ]?tesla{_END}",
    ),
}
_WORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "part": (
        ("phase", "ph|pha|phase|phs"),
        ("mag", "mag|magn|magnitude"),
        ("real", "real|re"),
        ("imag", "imag|imaginary|im"),
    ),
    "suffix": (
        ("UNIT1", "unit1|uni"),
        ("T1w", "t1|t1w|mprage|bravo|t1mprage|mpr"),
        ("phasediff", "phasediff"),
        (IGNORE, "mask|dseg|seg|labels|unwrapped|localizer|localiser|scout|chimap|r2starmap|t2starmap"),
        (GRADIENT_ECHO, "megre|mgre|gre|qsm|swi|swan|medi|t2star|t2starw|flash|aspire"),
    ),
}


def read_patterns(texts: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """Understand ``ENTITY=REGEX`` from the command line.

    Raises
    ------
    WrongUsage
        For an unknown entity, one given twice, or an invalid regular expression.
    """
    patterns: dict[str, re.Pattern[str]] = {}
    for text in texts:
        entity, equals, expression = text.partition("=")
        if not equals or entity not in ENTITIES:
            raise WrongUsage(
                f"--nifti-pattern {text}: not of the form ENTITY=REGEX.", nearest(entity, ENTITIES)
            )
        if entity in patterns:
            raise WrongUsage(f"--nifti-pattern: {entity} is given twice.", "Join the patterns with |.")
        try:
            patterns[entity] = re.compile(expression)
        except re.error as error:
            raise WrongUsage(
                f"--nifti-pattern {text}: not a regular expression ({error}).", "Correct it."
            ) from error
    return patterns


def from_own_patterns(path: str, patterns: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    """Entities that the user's patterns find.

    The value is the name of the named group that took part (``part=(?P<phase>ang)|(?P<mag>abs)``), or the
    text of the first group that did, or the whole match.

    Parameters
    ----------
    path
        Relative to the folder that is converted, with slashes.
    patterns
        From `read_patterns`.
    """
    found = {}
    for entity, pattern in patterns.items():
        if match := pattern.search(path):
            named = [name for name, text in match.groupdict().items() if text is not None]
            groups = [group for group in match.groups() if group is not None]
            found[entity] = _normal(entity, (named or groups or [match[0]])[0])
    return found


def from_bids_name(path: str) -> dict[str, str]:
    """Entities of a file name that follows BIDS; none of any other.

    Examples
    --------
    >>> from_bids_name("x/sub-1_echo-2_part-phase_MEGRE.nii")
    {'subject': '1', 'echo': '2', 'part': 'phase', 'suffix': 'MEGRE'}
    """
    name = parse_name(PurePosixPath(path).name)
    if (
        name is None
        or "sub" not in name.entities
        or name.suffix not in (*SUFFIXES, "bold", "dwi", "T2w", "FLAIR")
    ):
        return {}
    found = {_BIDS_KEYS[key]: label for key, label in name.entities.items() if key in _BIDS_KEYS}
    return found | {"suffix": name.suffix if name.suffix in SUFFIXES else IGNORE}


def from_usual_names(path: str) -> dict[str, str]:
    """Entities by what scanners, converters and users usually write into paths.

    Examples
    --------
    >>> from_usual_names("Subject7/GRE/gre_TE4.5ms_ph.nii.gz")
    {'subject': '7', 'echo_time': '0.0045', 'part': 'phase', 'suffix': 'gradient-echo'}
    """
    text = path.removesuffix(".gz").removesuffix(".nii")
    # PhaseEcho1 is two words, phase1 a word and a number
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    found = {}
    for entity, expressions in _USUAL.items():
        place = words if entity == "echo" else text
        matches = [match for one in expressions for match in re.finditer(one, place, re.IGNORECASE)]
        if matches:
            last = max(matches, key=lambda match: match.start())
            found[entity] = next(group for group in last.groups() if group is not None)
    if "echo_time" in found:
        found["echo_time"] = f"{float(found['echo_time']) / 1000:g}"
    for entity, choices in _WORDS.items():
        places = {
            value: max((match.start() for match in _word(names).finditer(words)), default=-1)
            for value, names in choices
        }
        best = max(places, key=lambda value: places[value])
        if places[best] >= 0:
            found[entity] = best
    return found


def _word(names: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z])(?:{names})(?![A-Za-z])", re.IGNORECASE)


def _normal(entity: str, value: str) -> str:
    """Bring a value that a pattern found to the words of the table."""
    if entity in {"part", "suffix"}:
        by_word = from_usual_names(value).get(entity)
        exact = {name.lower(): name for name in (*PARTS, *SUFFIXES, IGNORE)}
        return exact.get(value.lower()) or by_word or value
    return value
