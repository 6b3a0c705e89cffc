"""Maps in addition to chi. One module per step, listed here: see `docs/contributing/add-a-map.md`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from qsmxt_app.maps.declaration import IMAGES, MapStep

_MODULES = (
    "qsmxt_app.maps.relaxation",
    "qsmxt_app.maps.swi",
    "qsmxt_app.maps.chi_noise",
    "qsmxt_app.maps.chi_error",
    "qsmxt_app.maps.separation",
)
_STEPS: tuple[MapStep, ...] = tuple(import_module(module).MAP for module in _MODULES)
MAPS = {step.name: step for step in _STEPS}
"""By name, in the order in which they are made and shown."""


def made_maps(settings: Mapping[str, Any], echoes: int) -> set[str]:
    """Return the steps whose maps a scan with so many echoes has, under some settings by name."""
    made = set[str]()
    images = set(IMAGES)
    for step in MAPS.values():
        if step.made(settings, echoes) and images.issuperset(step.needs):
            made.add(step.name)
            images.update(step.outputs)
    return made
