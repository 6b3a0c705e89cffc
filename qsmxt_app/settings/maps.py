"""Which maps are computed in addition to susceptibility."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from qsmxt_app.maps import MAPS
from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Additional maps")

# Any, because a type checker does not know the fields that the registry gives
_Switches: Any = dataclasses.make_dataclass(
    "_Switches",
    [
        (
            step.name,
            str if step.switch.choices else bool,
            setting(step.switch.default, step.switch.text, choices=step.switch.choices),
        )
        for step in MAPS.values()
        if step.switch
    ],
    frozen=True,
)


@dataclass(frozen=True)
class MapSettings(_Switches):
    """Which maps are computed in addition to susceptibility: those of the registry, and the local field."""

    local_field: bool = setting(False, "local field by --background; always written with two-step")
