"""Which maps are computed in addition to susceptibility."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Additional maps")


@dataclass(frozen=True)
class MapSettings:
    """Which maps are computed in addition to susceptibility."""

    swi: bool = setting(True, "susceptibility-weighted image (SWI) and its minimum-intensity projection")
    chi_noise: bool = setting(True, "standard error of susceptibility due to noise in the field")
    local_field: bool = setting(False, "local field by --background; always written with two-step")
