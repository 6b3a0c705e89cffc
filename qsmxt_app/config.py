"""One frozen object with every setting: defaults, then a preset, then a file, then flags."""

# ruff: noqa: RUF009 (dataclasses.field is what `_setting` returns)
from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from qsmxt_app.errors import WrongUsage
from qsmxt_app.settings_text import (
    check_choice_or_file,
    check_setting,
    convert_settings,
    nearest,
    plain,
    read_toml,
    to_toml,
)

__all__ = ["Settings", "load_settings", "nearest", "preset_names", "read_preset", "setting_fields", "to_toml"]

DATA, METHOD, RUNNING, SHOWING = "Which data", "Method", "Running", "Looking without running"
CONVERSION = "Conversion, where BIDS_DIR holds DICOM or NIfTI files instead of a BIDS dataset"
MAPS = "Maps beside susceptibility"
DEFAULT_PRESET = "gre"
AUTO = "auto"
"""Preset that is chosen for each scan by what its sidecars and its grid say."""
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

    raw_dir: Path | None = _setting(
        None,
        CONVERSION,
        "where the BIDS dataset made of them goes (default: OUTPUT_DIR/sourcedata/raw)",
        metavar="DIR",
    )
    convert_only: bool = _setting(False, CONVERSION, "stop after the conversion")
    keep_incomplete: bool = _setting(
        False, CONVERSION, "also convert series of which slices are missing, as far as possible"
    )
    subject_from: str = _setting(
        "PatientID",
        CONVERSION,
        "what a person's label is made from",
        choices=("PatientID", "PatientName"),
    )
    subject_map: Path | None = _setting(
        None, CONVERSION, "table that says which label a person and a study get", kind="file"
    )
    nifti_pattern: tuple[str, ...] = _setting(
        (),
        CONVERSION,
        "where the path of a NIfTI file tells an entity: subject='P(\\d+)', part, echo_time, ...",
        metavar="ENTITY=REGEX",
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
        aliases=("unwrapping-algorithm",),
    )
    qsm_method: str = _setting(
        "tgv",
        METHOD,
        "tgv: one step from the phase; two-step: --background, then --inversion",
        choices=("tgv", "two-step"),
    )
    background: str = _setting(
        "lbv",
        METHOD,
        "background field removal of two-step",
        choices=("vsharp", "pdf", "resharp", "ismv", "lbv", "joint"),
        aliases=("bf-algorithm",),
    )
    inversion: str = _setting(
        "tv", METHOD, "dipole inversion of two-step", choices=("rts", "tv", "nonlinear")
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

    swi: bool = _setting(True, MAPS, "susceptibility-weighted image and its minimum-intensity projection")
    chi_noise: bool = _setting(True, MAPS, "standard error of chi that the noise of the field causes")
    local_field: bool = _setting(
        False, MAPS, "local field by --background, which two-step writes in any case"
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

    chosen: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Settings that the user chose, which no preset changes. Not a setting."""

    def __post_init__(self) -> None:
        for setting in setting_fields():
            check_setting(setting, getattr(self, setting.name))
        if self.mask_threshold in ("fixed", "percentile") and self.mask_threshold_value is None:
            raise WrongUsage(
                f"--mask-threshold {self.mask_threshold} needs a number.", "Give --mask-threshold-value."
            )
        if self.dry_run and self.reports_only:
            raise WrongUsage("--dry-run and --reports-only exclude each other.", "Give one of them.")
        check_choice_or_file("mask", self.mask, MASK_METHODS)
        check_choice_or_file("reference", self.reference, REFERENCES)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values (text, numbers, lists) of all settings that are set."""
        values = {setting.name: plain(getattr(self, setting.name)) for setting in setting_fields()}
        return {name: value for name, value in values.items() if value is not None}

    def to_repeat(self) -> dict[str, Any]:
        """Return what a configuration file must hold to repeat this run."""
        values = self.as_dict()
        values.pop("config", None)
        if self.preset != AUTO:
            return values
        open_ones = settings_of_presets() - self.chosen
        return {name: value for name, value in values.items() if name not in open_ones}

    def with_preset(self, name: str) -> Settings:
        """Return the settings of another preset, with what the user chose left as it is."""
        open_ones = settings_of_presets() - self.chosen
        defaults = {field.name: field.default for field in setting_fields()}
        values = {**defaults, **read_preset(name).settings}
        return dataclasses.replace(self, **{key: values[key] for key in open_ones}, preset=name)


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the declared settings in the order of the help page."""
    return tuple(field for field in dataclasses.fields(Settings) if "group" in field.metadata)


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
    return Settings(**{**base.settings, **chosen, "preset": preset}, chosen=frozenset(chosen))


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


def settings_of_presets() -> frozenset[str]:
    """Return the names of all settings that any preset decides."""
    return frozenset(key for name in preset_names() for key in read_preset(name).settings)


def read_preset(name: str) -> Preset:
    """Read one of the package's presets.

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
