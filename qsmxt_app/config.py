"""Where settings come from: defaults, then a preset, then a file, then flags."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qsmxt_app.errors import WrongUsage
from qsmxt_app.segment.atlases import ATLASES
from qsmxt_app.settings import DEFAULT_PRESET, Settings, setting_fields
from qsmxt_app.settings.method import MethodSettings
from qsmxt_app.settings.segmentation import SegmentationSettings
from qsmxt_app.settings.text import convert_settings, nearest, read_toml

AUTO = "auto"
"""Preset that is chosen for each scan by what its sidecars and its grid say."""


def load_settings(flags: Mapping[str, object]) -> Settings:
    """Merge defaults, preset, configuration file and flags, later ones winning.

    Parameters
    ----------
    flags
        Setting names to the text (or list of texts, or bool) given on the command line.

    Raises
    ------
    WrongUsage
        An unknown setting or preset, or a value that cannot be understood; the nearest valid one is named.
    NoInput
        The configuration file does not exist.
    """
    given = _converted(flags, origin="the command line")
    from_file: dict[str, Any] = {}
    if given.get("config") is not None:
        from_file = _converted(read_toml(given["config"]), origin=str(given["config"]))
    preset = str(given.get("preset") or from_file.get("preset") or DEFAULT_PRESET)
    base = read_preset(DEFAULT_PRESET if preset == AUTO else preset)
    chosen = {**from_file, **given}
    chosen |= _segmentation_meant(chosen, given)
    if "atlas" in chosen:
        _check_atlas_name(str(chosen["atlas"]))
    if chosen.get("registration") == "syn" and find_spec("ants") is None:
        raise WrongUsage(
            "--registration syn needs ANTs, which is not installed.",
            'pip install "qsmxt-app[ants]", or leave it out: greedy registration is the default.',
        )
    return Settings(**{**base.settings, **chosen, "preset": preset}, chosen=frozenset(chosen))


def _check_atlas_name(name: str) -> None:
    if name not in ATLASES and ":" not in name and not Path(name).is_dir():
        raise WrongUsage(
            f"--atlas {name} is neither a built-in atlas nor a folder.",
            f"Built in: {', '.join(ATLASES)}; one of TemplateFlow is TEMPLATE:ATLAS.",
        )


def _segmentation_meant(chosen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the segmentation that other settings of the user ask for, whatever the preset says.

    Parameters
    ----------
    chosen
        All that the user said.
    given
        What of it stands on the command line; a file that repeats a run holds the defaults as well.

    Raises
    ------
    WrongUsage
        Settings that contradict each other.
    """
    meant = {
        name: method
        for name, method in (("derivatives", "atlas"), ("atlas", "atlas"), ("model", "meshnet"))
        if chosen.get(name) and (name in given or chosen[name] != getattr(SegmentationSettings, name))
    }
    region = MethodSettings(reference=str(chosen.get("reference", "mean"))).reference_region
    if chosen.get("segmentation") == "none" and region:
        raise WrongUsage(
            f"--reference {region} is a region, and --segmentation none labels none.",
            "Give mean, none, or a mask FILE.",
        )
    if "segmentation" in chosen or not (meant or region):
        return {}
    if {"atlas", "model"} <= meant.keys():
        raise WrongUsage("--atlas and --model exclude each other.", "Give one of them, or --segmentation.")
    return {"segmentation": next(iter(meant.values()), "atlas")}


def to_repeat(settings: Settings) -> dict[str, Any]:
    """Return what a configuration file must hold to repeat a run."""
    values = settings.as_dict()
    values.pop("config", None)
    if settings.preset != AUTO:
        return values
    open_ones = settings_of_presets() - settings.chosen
    return {name: value for name, value in values.items() if name not in open_ones}


def with_preset(settings: Settings, name: str) -> Settings:
    """Return the settings of another preset, with what the user chose left as it is."""
    open_ones = settings_of_presets() - settings.chosen
    defaults = {field.name: field.default for field in setting_fields()}
    values = {**defaults, **read_preset(name).settings}
    return dataclasses.replace(settings, **{key: values[key] for key in open_ones}, preset=name)


@dataclass(frozen=True)
class Preset:
    """Settings that are chosen together, and the reason for them."""

    name: str
    summary: str
    reason: str
    settings: dict[str, Any]


@cache
def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package, the default first."""
    folder = resources.files("qsmxt_app") / "presets"
    names = sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )
    return tuple(sorted(names, key=lambda name: name != DEFAULT_PRESET))


def settings_of_presets() -> frozenset[str]:
    """Return the names of all settings that any preset decides."""
    return frozenset(key for name in preset_names() for key in read_preset(name).settings)


@cache
def read_preset(name: str) -> Preset:
    """Read one of the package's presets, once a process.

    Raises
    ------
    WrongUsage
        There is no preset of this name.
    """
    if name not in preset_names():
        raise WrongUsage(f"--preset {name} does not exist.", nearest(name, (AUTO, *preset_names())))
    path = resources.files("qsmxt_app") / "presets" / f"{name}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    about = {key: str(content.pop(key)) for key in ("summary", "reason")}
    return Preset(name, about["summary"], about["reason"], _converted(content, origin=f"preset {name}"))


def _converted(values: Mapping[str, object], *, origin: str) -> dict[str, Any]:
    known = {setting.name: setting for setting in setting_fields()}
    return convert_settings(values, Settings, known, origin=origin)
