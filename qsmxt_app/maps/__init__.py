"""Maps beside susceptibility. One module a step, listed here: see `docs/contributing/add-a-map.md`."""

from collections.abc import Mapping
from typing import Any

from qsmxt_app.maps.chi_noise import MAP as CHI_NOISE
from qsmxt_app.maps.declaration import IMAGES, MapStep
from qsmxt_app.maps.relaxation import MAP as RELAXATION
from qsmxt_app.maps.swi import MAP as SWI

MAPS: dict[str, MapStep] = {
    step.name: step
    for step in (
        RELAXATION,
        SWI,
        CHI_NOISE,
    )
}
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
