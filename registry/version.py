"""Carry the version of ``pyproject.toml`` to the files that repeat it.

``python registry/version.py`` writes them; with ``--check`` it names those that differ, and exits with 1.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {
    "CITATION.cff": r"(?m)^(version: ).*$",
    "Dockerfile": r"(?m)^(ARG VERSION=).*$",
    "registry/neurodesk/build.yaml": r"(?m)^(version: ).*$",
    "registry/boutiques.json": r'("tool-version": "|"image": "qsmxt:)[^"]*',
} | {
    f"registry/qsm-ci/{folder.name}/algorithm.yml": r"(?m)^(image: qsmxt:).*$"
    for folder in sorted((ROOT / "registry" / "qsm-ci").iterdir())
}
"""Files that repeat the version, with what stands before it."""


def project_version() -> str:
    """Return the version that ``pyproject.toml`` declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def outdated() -> dict[Path, str]:
    """Return the files that name another version, with the text that they should have."""
    version, found = project_version(), {}
    for name, pattern in PLACES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        renewed = re.sub(pattern, rf"\g<1>{version}", text)
        if renewed != text:
            found[path] = renewed
    return found


if __name__ == "__main__":
    differing = outdated()
    if "--check" in sys.argv[1:]:
        sys.exit(f"another version than pyproject.toml: {', '.join(map(str, differing))}" if differing else 0)
    for path, text in differing.items():
        path.write_text(text, encoding="utf-8")
