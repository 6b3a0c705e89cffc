"""One frozen object with every setting: defaults, then a preset, then a file, then flags."""

# ruff: noqa: RUF009 (dataclasses.field is what `_setting` returns)
from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from qsmxt_app.errors import NoInput, WrongUsage

DATA, METHOD, RUNNING, SHOWING = "Which data", "Method", "Running", "Looking without running"
DEFAULT_PRESET = "gre"
MASK_METHODS = ("magnitude", "phase-quality", "combined", "bet")
REFERENCES = ("mean", "none")


def _setting(default: Any, group: str, text: str, **details: Any) -> Any:
    """Declare a setting: its default, the help group and text, and how values are checked.

    `details` may hold `choices`, `metavar`, `aliases`, `short`, `least` (smallest value) and `kind="file"`.
    """
    return dataclasses.field(default=default, metadata={"group": group, "help": text, **details})


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, beside its input and output folders.

    Raises
    ------
    WrongUsage
        A value outside its range, or settings that contradict each other.
    """

    participant_label: tuple[str, ...] = _setting(
        (), DATA, "participants to process, with or without sub- (default: all)", metavar="LABEL"
    )
    session_label: tuple[str, ...] = _setting((), DATA, "sessions to process", metavar="LABEL")
    run_label: tuple[str, ...] = _setting((), DATA, "runs to process", metavar="LABEL")
    acquisition_label: tuple[str, ...] = _setting(
        (), DATA, "acquisitions (acq-) to process", metavar="LABEL", aliases=("acq-label",)
    )
    bids_filter_file: Path | None = _setting(
        None, DATA, "JSON file with the entities to select, as for fMRIPrep", kind="file"
    )
    skip_bids_validation: bool = _setting(
        False,
        DATA,
        "do not check first that the input is valid BIDS",
        aliases=("skip-bids-validator",),
    )

    preset: str = _setting(
        DEFAULT_PRESET, METHOD, "settings chosen together for a kind of data", metavar="NAME"
    )
    config: Path | None = _setting(
        None,
        METHOD,
        "TOML file with settings; any flag of this page without its dashes is a key",
        kind="file",
    )
    mask: str = _setting(
        "combined",
        METHOD,
        f"{', '.join(MASK_METHODS)}, or a mask FILE on the grid of the images",
        metavar="METHOD|FILE",
    )
    mask_threshold: str = _setting(
        "otsu",
        METHOD,
        "how the threshold of the mask is chosen",
        choices=("otsu", "gaussian", "fixed", "percentile"),
    )
    mask_threshold_value: float | None = _setting(
        None, METHOD, "threshold for 'fixed', percent for 'percentile'", metavar="X"
    )
    mask_closing: float = _setting(
        3.0, METHOD, "radius by which gaps in the mask are closed", metavar="MM", least=0.0
    )
    mask_erosion: int = _setting(0, METHOD, "voxel layers taken off the mask", metavar="N", least=0)
    mask_components: int = _setting(
        3, METHOD, "most separate parts that the mask keeps", metavar="N", least=1
    )
    mask_separation: float = _setting(
        0.0,
        METHOD,
        "cut parts that hang together by less than this, such as scalp and brain",
        metavar="MM",
        least=0.0,
    )
    bipolar: str = _setting(
        "auto",
        METHOD,
        "whether even echoes are read out backwards; auto believes the sidecar",
        choices=("auto", "yes", "no"),
    )
    unwrapping: str = _setting(
        "romeo",
        METHOD,
        "phase unwrapping of the field map",
        choices=("romeo", "laplacian"),
    )
    two_pass: bool = _setting(
        True, METHOD, "also invert without the unreliable voxels, and combine both maps (Stewart 2022)"
    )
    tgv_alpha: tuple[float, float] = _setting(
        (0.0015, 0.001),
        METHOD,
        "regularisation of TGV-QSM, first and second order, at 0.6 ppb of noise and 2 mm; it follows both",
        metavar="X",
        least=0.0,
    )
    tgv_iterations: int = _setting(
        1000, METHOD, "most iterations of TGV-QSM; it stops when converged", metavar="N", least=1
    )
    tgv_tolerance: float = _setting(
        0.05, METHOD, "relative change of chi at which TGV-QSM has converged", metavar="X", least=0.0
    )
    reference: str = _setting(
        "mean",
        METHOD,
        "what chi is relative to: mean (over the mask), none, or a mask FILE",
        metavar="mean|none|FILE",
    )

    work_dir: Path | None = _setting(
        None,
        RUNNING,
        "intermediate files; the same command goes on from there (default: OUTPUT_DIR/work)",
        short="w",
        metavar="DIR",
    )
    n_cpus: int | None = _setting(
        None,
        RUNNING,
        "processor cores to use (default: all that this process may use)",
        aliases=("nprocs", "n-procs", "nthreads"),
        metavar="N",
        least=1,
    )
    omp_nthreads: int | None = _setting(
        None, RUNNING, "most cores for one step (default: shared between the scans)", metavar="N", least=1
    )
    mem_gb: float | None = _setting(
        None,
        RUNNING,
        "memory to use in GB, or 16G, 16000M (default: 90 %% of what this process may use)",
        aliases=("mem",),
        metavar="GB",
        least=0.5,
    )
    nipype_plugin: str = _setting(
        "MultiProc",
        RUNNING,
        "nipype's execution plugin",
        metavar="NAME",
    )
    nipype_plugin_file: Path | None = _setting(
        None,
        RUNNING,
        "YAML or JSON file with 'plugin' and 'plugin_args', as for fMRIPrep",
        aliases=("use-plugin",),
        kind="file",
    )
    stop_on_first_crash: bool = _setting(False, RUNNING, "stop everything at the first failure")
    dry_run: bool = _setting(False, SHOWING, "show what would be run, and write nothing")
    reports_only: bool = _setting(False, SHOWING, "write the reports again from finished outputs")

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check(setting, getattr(self, setting.name))
        if self.mask_threshold in ("fixed", "percentile") and self.mask_threshold_value is None:
            raise WrongUsage(
                f"--mask-threshold {self.mask_threshold} needs a number.", "Give --mask-threshold-value."
            )
        if self.dry_run and self.reports_only:
            raise WrongUsage("--dry-run and --reports-only exclude each other.", "Give one of them.")
        _check_choice_or_file("mask", self.mask, MASK_METHODS)
        _check_choice_or_file("reference", self.reference, REFERENCES)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values (text, numbers, lists) of all settings that are set."""
        values = {setting.name: _plain(getattr(self, setting.name)) for setting in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the declared settings in the order of the help page."""
    return dataclasses.fields(Settings)


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
        from_file = _converted(_read_toml(given["config"]), origin=str(given["config"]))
    preset = str(given.get("preset") or from_file.get("preset") or DEFAULT_PRESET)
    return Settings(**{**read_preset(preset).settings, **from_file, **given, "preset": preset})


@dataclass(frozen=True)
class Preset:
    """Settings that are chosen together, and the reason for them."""

    name: str
    summary: str
    reason: str
    settings: dict[str, Any]


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package, the default first."""
    folder = resources.files("qsmxt_app") / "presets"
    names = sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )
    return tuple(sorted(names, key=lambda name: name != DEFAULT_PRESET))


def read_preset(name: str) -> Preset:
    """Read one of the package's presets.

    Raises
    ------
    WrongUsage
        There is no preset of this name.
    """
    if name not in preset_names():
        raise WrongUsage(f"--preset {name} does not exist.", nearest(name, preset_names()))
    path = resources.files("qsmxt_app") / "presets" / f"{name}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    about = {key: str(content.pop(key)) for key in ("summary", "reason")}
    return Preset(name, about["summary"], about["reason"], _converted(content, origin=f"preset {name}"))


def to_toml(values: Mapping[str, Any]) -> str:
    """Write plain values (text, bool, numbers, lists of these) as TOML that `--config` reads back."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items())


def nearest(name: str, valid: Iterable[str]) -> str:
    """Name the valid one that is nearest to a wrong one, as a sentence for an error."""
    names = tuple(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Choose one of: {', '.join(names)}."


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 or char in '"\\' else char
            for char in value
        )
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongUsage(
            f"{path} is not valid TOML: {error}.", "Write lines such as: two_pass = false"
        ) from error
    except OSError as error:
        raise NoInput(f"--config {path} cannot be read: {error.strerror}.", "Check the path.") from error


def _converted(values: Mapping[str, object], *, origin: str) -> dict[str, Any]:
    known = {setting.name: setting for setting in setting_fields()}
    converted: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise WrongUsage(f"{origin}: unknown setting '{key}'.", nearest(name, known))
        converted[name] = _convert(known[name], value)
    return converted


def _convert(setting: dataclasses.Field[Any], value: object) -> Any:
    """Turn text or a TOML value into the type that the setting declares."""
    annotation = typing.get_type_hints(Settings)[setting.name]
    if isinstance(annotation, types.UnionType):
        annotation = next(option for option in typing.get_args(annotation) if option is not type(None))
    if typing.get_origin(annotation) is tuple:
        return _convert_list(setting, annotation, value)
    return _convert_scalar(setting, annotation, value)


def _convert_list(setting: dataclasses.Field[Any], annotation: Any, value: object) -> tuple[Any, ...]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    kinds = typing.get_args(annotation)
    if kinds[-1] is not Ellipsis and len(items) != len(kinds):
        raise WrongUsage(f"{_flag(setting)} needs {len(kinds)} values, not {len(items)}.")
    return tuple(_convert_scalar(setting, kinds[0], item) for item in items)


def _convert_scalar(setting: dataclasses.Field[Any], kind: type, value: object) -> Any:
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            raise ValueError
        if isinstance(value, bool):
            raise ValueError
        if kind is float and setting.name == "mem_gb":
            return _gigabytes(value)
        if kind is int and isinstance(value, float):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise WrongUsage(f"{_flag(setting)} needs {expected}, not '{value}'.") from None


def _gigabytes(value: object) -> float:
    text = str(value).strip().upper().removesuffix("B")
    factors = {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
    return float(text[:-1]) * factors[text[-1]] if text[-1:] in factors else float(text)


def _check(setting: dataclasses.Field[Any], value: Any) -> None:
    choices, least = setting.metadata.get("choices"), setting.metadata.get("least")
    if choices and value not in choices:
        raise WrongUsage(f"{_flag(setting)} {value} is not possible.", nearest(str(value), choices))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            raise WrongUsage(f"{_flag(setting)} {number} is not a number that can be used.")
        if least is not None and number is not None and number < least:
            raise WrongUsage(f"{_flag(setting)} {number} is too small.", f"The least is {least:g}.")
    if setting.metadata.get("kind") == "file" and value is not None and not value.is_file():
        raise NoInput(f"{_flag(setting)} {value} does not exist.", "Check the path.")


def _check_choice_or_file(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices and not Path(value).is_file():
        raise WrongUsage(
            f"--{name} {value} is neither a method nor a file that exists.", nearest(value, choices)
        )


def _flag(setting: dataclasses.Field[Any]) -> str:
    return "--" + setting.name.replace("_", "-")
