"""The software that results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from qsmxt_app import __version__

LIBRARIES = ("numpy", "scipy", "numba", "nibabel", "nipype", "antspyx")


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of what its results depend on."""
    found = {"qsmxt": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
