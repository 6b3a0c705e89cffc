"""One frozen object with every setting; each group of settings is declared in its own file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from qsmxt_app.errors import WrongUsage
from qsmxt_app.settings.cluster import ClusterSettings
from qsmxt_app.settings.conversion import ConversionSettings
from qsmxt_app.settings.data import DataSettings
from qsmxt_app.settings.group import GroupSettings
from qsmxt_app.settings.maps import MapSettings
from qsmxt_app.settings.method import DEFAULT_PRESET, MASK_METHODS, REFERENCES, MethodSettings
from qsmxt_app.settings.running import RunningSettings
from qsmxt_app.settings.segmentation import T1W_SPACE, TEMPLATE_SPACE, SegmentationSettings
from qsmxt_app.settings.showing import ShowingSettings
from qsmxt_app.settings.text import check_choice_or_file, check_setting, plain

__all__ = [
    "DEFAULT_PRESET",
    "MASK_METHODS",
    "REFERENCES",
    "T1W_SPACE",
    "TEMPLATE_SPACE",
    "Settings",
    "setting_fields",
]


# dataclasses collect fields from the last base to the first: this is the order of the help page, reversed
@dataclass(frozen=True)
class Settings(
    ShowingSettings,
    ClusterSettings,
    RunningSettings,
    GroupSettings,
    SegmentationSettings,
    MapSettings,
    MethodSettings,
    ConversionSettings,
    DataSettings,
):
    """Everything that a run depends on, beside its input and output folders.

    Raises
    ------
    WrongUsage
        A value outside its range, or settings that contradict each other.
    """

    chosen: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Settings that the user chose, which no preset changes. Not a setting."""

    def __post_init__(self) -> None:
        for setting in setting_fields():
            check_setting(setting, getattr(self, setting.name))
        if self.mask_threshold in ("fixed", "percentile") and self.mask_threshold_value is None:
            raise WrongUsage(
                f"--mask-threshold {self.mask_threshold} needs a number.", "Give --mask-threshold-value."
            )
        looking = [name for name in ("dry_run", "reports_only", "boilerplate_only") if getattr(self, name)]
        if len(looking) > 1:
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in looking)
            raise WrongUsage(f"{flags} exclude each other.", "Give one of them.")
        if self.segmentation == "meshnet" and self.model is None and not self.derivatives:
            raise WrongUsage("--segmentation meshnet needs a network.", "Give it by --model.")
        if self.roi_threshold >= 1:
            raise WrongUsage(f"--roi-threshold {self.roi_threshold:g} leaves no voxel.", "Give less than 1.")
        if self.echo_combination != "field" and self.qsm_method != "tgv":
            raise WrongUsage(
                f"--echo-combination {self.echo_combination} is of TGV-QSM, not of {self.qsm_method}.",
                "Give --qsm-method tgv, or combine the field.",
            )
        check_choice_or_file("mask", self.mask, MASK_METHODS)
        if not self.reference:
            raise WrongUsage("--reference is empty.", "Give mean, none, a mask FILE or a region.")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values (text, numbers, lists) of all settings that are set."""
        values = {setting.name: plain(getattr(self, setting.name)) for setting in setting_fields()}
        return {name: value for name, value in values.items() if value is not None}


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the declared settings in the order of the help page."""
    return tuple(field for field in dataclasses.fields(Settings) if "group" in field.metadata)
