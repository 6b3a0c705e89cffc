"""List what an environment holds beside the package: versions, licences and sizes, as Markdown.

``python registry/third_party.py [SITE_PACKAGES]`` prints the table; it exits with 1 if a licence is unknown
or does not allow everybody every use. Licences are those of the wheels' metadata or files.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

OWN = "qsmxt-app"
LIBRARY = r"lgpl|lesser general public"
"""Licences of libraries that programs of any licence may use."""
RESTRICTIVE = r"a?gpl|gnu|affero|commercial|academic|proprietary"
FREE = r"mit|0?bsd|apache|isc|psf|python software foundation|mpl|mozilla|unlicense|hpnd|zlib|cc0"
"""Licences that allow every use."""
READ_IN_FILE = {"pyglet": "BSD-3-Clause", "axe-playwright-python": "MIT"}
"""Licences of wheels whose metadata do not tell them."""


class Package(NamedTuple):
    """A row of the table."""

    name: str
    version: str
    licence: str
    megabytes: float

    @property
    def fault(self) -> str:
        """What is wrong with the licence; empty for nothing."""
        if not self.licence:
            return "no licence"
        if not self._says(LIBRARY) and self._says(RESTRICTIVE):
            return "not free for every use"
        return "" if self._says(f"{LIBRARY}|{FREE}") else "unknown licence"

    def _says(self, words: str) -> bool:
        return re.search(rf"\b({words})(?![a-z])", self.licence, re.IGNORECASE) is not None


def packages(folder: str) -> Iterator[Package]:
    """Return what is installed in a folder of packages, by name."""
    found = {str(one.metadata["Name"]): one for one in distributions(path=[folder])}
    for name in sorted(found, key=str.lower):
        if name != OWN:
            one = found[name]
            size = sum(
                path.stat().st_size for file in one.files or () if (path := one.locate_file(file)).is_file()
            )
            yield Package(name, one.version, licence_of(one), size / 1e6)


def licence_of(distribution: Distribution) -> str:
    """Return the licence of a package in a few words."""
    metadata = distribution.metadata
    if name := READ_IN_FILE.get(str(metadata["Name"])):
        return name
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        str(value).rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier") or ()
        if str(value).startswith("License ::") and not str(value).endswith("OSI Approved")
    ]
    stated = str(metadata.get("License") or "").strip()
    # some put the whole text into the field
    short = stated if len(stated) < 60 else (re.search(r"MIT|BSD|Apache", stated) or [""])[0]
    return "; ".join(classified) or short


def table(found: list[Package]) -> str:
    """Return the Markdown table."""
    rows = [f"| {one.name} | {one.version} | {one.licence} | {one.megabytes:.1f} |" for one in found]
    return "\n".join(["| package | version | licence | MB |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    installed = list(packages(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("purelib")))
    print(
        f"# {len(installed)} packages, {sum(one.megabytes for one in installed):.0f} MB\n\n{table(installed)}"
    )
    if faults := [f"{one.name} ({one.licence or 'none'}): {one.fault}" for one in installed if one.fault]:
        sys.exit("\n".join(faults))
