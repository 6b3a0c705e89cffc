"""Which maps are made beside susceptibility."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Maps beside susceptibility")


@dataclass(frozen=True)
class MapSettings:
    """Which maps are made beside susceptibility."""

    swi: bool = setting(True, "susceptibility-weighted image and its minimum-intensity projection")
    chi_noise: bool = setting(True, "standard error of chi that the noise of the field causes")
    local_field: bool = setting(False, "local field by --background, which two-step writes in any case")
