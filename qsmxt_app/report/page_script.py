"""The scripts of pages beside the viewer: links to neighbours in the list, a filter, and a rating."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from markupsafe import Markup


@cache
def code(name: str = "page.js") -> Markup:
    """Return a script of the package."""
    text = files("qsmxt_app.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of the package


def source(text: str) -> str:
    """Return the hash by which a content security policy knows a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def policy(others: Iterable[str], name: str = "page.js") -> Markup:
    """Return the part of a policy that lets just these scripts run.

    Parameters
    ----------
    others
        Hashes of other scripts of the page.
    name
        Of the script of the page itself.
    """
    return Markup(" ".join(["; script-src", source(code(name)), *others]))  # noqa: S704 - hashes
