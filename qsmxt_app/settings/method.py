"""How susceptibility is reconstructed."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.echo_combination import ECHO_AVERAGES, ECHO_COMBINATIONS
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Method")
DEFAULT_PRESET = "gre"
MASK_METHODS = ("magnitude", "phase-quality", "combined", "bet")
REFERENCES = ("mean", "none")


@dataclass(frozen=True)
class MethodSettings:
    """How susceptibility is reconstructed."""

    preset: str = setting(DEFAULT_PRESET, "named set of settings for a type of data", metavar="NAME")
    config: Path | None = setting(
        None,
        "TOML file with settings; its keys are the options of this page without the leading dashes",
        kind="file",
    )
    mask: str = setting(
        "combined",
        f"masking method: {', '.join(MASK_METHODS)}, or a mask FILE on the grid of the images",
        metavar="METHOD|FILE",
    )
    masks: Path | None = setting(
        None,
        "folder of BIDS derivatives with a mask of each scan (_desc-*_mask), on the grid of its images",
        kind="folder",
        metavar="DIR",
    )
    mask_threshold: str = setting(
        "otsu",
        "method for the mask threshold",
        choices=("otsu", "gaussian", "fixed", "percentile"),
    )
    mask_threshold_value: float | None = setting(
        None, "threshold for fixed, percentile for percentile", metavar="X"
    )
    mask_closing: float = setting(
        3.0, "radius of the morphological closing of the mask", metavar="MM", least=0.0
    )
    mask_erosion: int = setting(0, "number of voxels to erode the mask by", metavar="N", least=0)
    mask_components: int = setting(
        3, "maximum number of connected components kept in the mask", metavar="N", least=1
    )
    mask_separation: float = setting(
        0.0,
        "radius that disconnects narrow bridges, such as between scalp and brain",
        metavar="MM",
        least=0.0,
    )
    brain_mask: bool = setting(
        True,
        "find the brain in the magnitude of a head: the mask ends beside it unless it is given, and the "
        "reference is the mean over it",
    )
    object_size: str = setting(
        "auto",
        "what lengths of the method suit: head (a human one), small (they are scaled by the field of view), "
        "or auto (small for voxels of up to 0.2 mm and a field of view of up to 80 mm)",
        choices=("auto", "head", "small"),
    )
    bipolar: str = setting(
        "auto",
        "bipolar readout; auto: from the sidecar and the data",
        choices=("auto", "yes", "no"),
    )
    unwrapping: str = setting(
        "romeo",
        "phase unwrapping method for the field map",
        choices=UNWRAPPING_METHODS,
        aliases=("unwrapping-algorithm",),
    )
    qsm_method: str = setting(
        "tgv",
        "tgv: single-step TGV-QSM from the phase; two-step: --background, then --inversion",
        choices=("tgv", "two-step"),
    )
    echo_combination: str = setting(
        "field",
        "what of the echoes TGV-QSM combines: field (one field fitted to all), laplacian (the Laplacians of "
        "their phase), or maps (each echo is reconstructed by itself; its map is written too)",
        choices=ECHO_COMBINATIONS,
    )
    echo_average: str = setting(
        "noise",
        "mean of --echo-combination maps: noise (weighted by the inverse variance of each echo's field), or "
        "plain",
        choices=ECHO_AVERAGES,
    )
    background: str = setting(
        "lbv",
        "background field removal method of two-step",
        choices=BACKGROUND_METHODS,
        aliases=("bf-algorithm",),
    )
    inversion: str = setting("tv", "dipole inversion method of two-step", choices=INVERSION_METHODS)
    two_pass: bool = setting(
        True,
        "two-pass reconstruction, where strong sources have unreliable phase: combine inversions with and "
        "without them (Stewart 2022)",
    )
    tgv_alpha: tuple[float, float] = setting(
        (0.0015, 0.0045),
        "regularisation of TGV-QSM, first and second order, for 0.6 ppb of noise and 2 mm voxels; "
        "scaled to the data",
        metavar="X",
        least=0.0,
    )
    tgv_iterations: int = setting(1000, "maximum number of iterations of TGV-QSM", metavar="N", least=1)
    tgv_tolerance: float = setting(
        0.05, "relative change of susceptibility below which TGV-QSM stops", metavar="X", least=0.0
    )
    reference: str = setting(
        "mean",
        "reference of susceptibility: mean (over the brain or, without one, the mask), none, "
        "a mask FILE, or a labelled REGION by name or number, such as csf (the lateral ventricles) or "
        "frontal-white-matter",
        metavar="mean|none|FILE|REGION",
    )

    @property
    def reference_region(self) -> str:
        """Name or number of the region that chi is to be relative to; empty for anything else."""
        known = self.reference in REFERENCES or Path(self.reference).is_file()
        return "" if known else self.reference
