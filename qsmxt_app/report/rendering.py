"""Templates to pages. Everything that enters a page is escaped, and pages load nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import jinja2

from qsmxt_app.records.open_values import number
from qsmxt_app.records.quality import Measure

MINUS = "\N{MINUS SIGN}"

_LEVELS = {"good": "done", "look": "warning", "bad": "error"}
_WORDS = {"good": "good", "look": "needs review", "bad": "poor"}


def render(template: str, **values: Any) -> str:
    """Fill a template of the package.

    Parameters
    ----------
    template
        File name inside the `templates` folder.
    values
        What the template shows; all text is escaped.
    """
    return encodable(_environment().get_template(template).render(**values))


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot hold: lone surrogates stand for undecodable bytes of file names."""
    return text.encode("utf-8", "replace").decode("utf-8")


def show_number(value: object, digits: int = 3) -> str:
    """Write a number with so many significant digits, or a dash if there is none."""
    known = number(value)
    if known is None:
        return "\N{EN DASH}"
    plain = f"{known:.{digits}g}"
    if "e+" in plain and abs(known) < 1e7:
        plain = f"{known:.0f}"
    return plain.replace("-", MINUS)


def show_product(values: Iterable[float], digits: int = 3) -> str:
    """Write numbers with multiplication signs between them, as for a voxel size."""
    return " \N{MULTIPLICATION SIGN} ".join(show_number(value, digits) for value in values)


def show_duration(seconds: object) -> str:
    """Write a duration: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 01 min`."""
    known = number(seconds)
    if known is None:
        return "\N{EN DASH}"
    if known < 9.95:
        return f"{known:.1f} s"
    whole = round(known)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def show_memory(megabytes: object) -> str:
    """Write an amount of memory given in MB."""
    known = number(megabytes)
    if known is None:
        return "\N{EN DASH}"
    return f"{known / 1000:.2f} GB" if known >= 1000 else f"{known:.0f} MB"


def state_words(measure: Measure) -> str:
    """Return the state of a measure in words."""
    return _WORDS.get(measure.state, "not measured" if measure.value is None else "no limit")


def level(measure: Measure) -> str:
    """Return the state as a level of a page: `done`, `warning`, `error`, or empty."""
    return _LEVELS.get(measure.state, "")


def limits_words(measure: Measure) -> str:
    """Return the limits in words: what is good, and what is poor."""
    if measure.limits is None:
        return ""
    shown = [show_number(limit) for limit in measure.limits]
    if len(shown) == 4:
        return f"{shown[1]} to {shown[2]} (poor outside {shown[0]} to {shown[3]})"
    sign, poor = ("≤", "above") if measure.limits[1] > measure.limits[0] else ("≥", "below")
    return f"{sign} {shown[0]} (poor {poor} {shown[1]})"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qsmxt_app.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": show_number,
        "duration": show_duration,
        "memory": show_memory,
        "state": state_words,
        "level": level,
        "limits": limits_words,
    }
    return environment
