"""How susceptibility is reconstructed."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.qsm.background import BACKGROUND_METHODS
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

    preset: str = setting(DEFAULT_PRESET, "settings chosen together for a kind of data", metavar="NAME")
    config: Path | None = setting(
        None,
        "TOML file with settings; any flag of this page without its dashes is a key",
        kind="file",
    )
    mask: str = setting(
        "combined",
        f"{', '.join(MASK_METHODS)}, or a mask FILE on the grid of the images",
        metavar="METHOD|FILE",
    )
    mask_threshold: str = setting(
        "otsu",
        "how the threshold of the mask is chosen",
        choices=("otsu", "gaussian", "fixed", "percentile"),
    )
    mask_threshold_value: float | None = setting(
        None, "threshold for 'fixed', percent for 'percentile'", metavar="X"
    )
    mask_closing: float = setting(3.0, "radius by which gaps in the mask are closed", metavar="MM", least=0.0)
    mask_erosion: int = setting(0, "voxel layers taken off the mask", metavar="N", least=0)
    mask_components: int = setting(3, "most separate parts that the mask keeps", metavar="N", least=1)
    mask_separation: float = setting(
        0.0,
        "cut parts that hang together by less than this, such as scalp and brain",
        metavar="MM",
        least=0.0,
    )
    bipolar: str = setting(
        "auto",
        "whether even echoes are read out backwards; auto believes the sidecar",
        choices=("auto", "yes", "no"),
    )
    unwrapping: str = setting(
        "romeo",
        "phase unwrapping of the field map",
        choices=UNWRAPPING_METHODS,
        aliases=("unwrapping-algorithm",),
    )
    qsm_method: str = setting(
        "tgv",
        "tgv: one step from the phase; two-step: --background, then --inversion",
        choices=("tgv", "two-step"),
    )
    background: str = setting(
        "lbv",
        "background field removal of two-step",
        choices=BACKGROUND_METHODS,
        aliases=("bf-algorithm",),
    )
    inversion: str = setting("tv", "dipole inversion of two-step", choices=INVERSION_METHODS)
    two_pass: bool = setting(
        True, "also invert without the unreliable voxels, and combine both maps (Stewart 2022)"
    )
    tgv_alpha: tuple[float, float] = setting(
        (0.0015, 0.0045),
        "regularisation of TGV-QSM, first and second order, at 0.6 ppb of noise and 2 mm; it follows both",
        metavar="X",
        least=0.0,
    )
    tgv_iterations: int = setting(
        1000, "most iterations of TGV-QSM; it stops when converged", metavar="N", least=1
    )
    tgv_tolerance: float = setting(
        0.05, "relative change of chi at which TGV-QSM has converged", metavar="X", least=0.0
    )
    reference: str = setting(
        "mean",
        "what chi is relative to: mean (over the mask), none, a mask FILE, or a REGION of the labels by name "
        "or number, such as csf (the lateral ventricles) or frontal-white-matter",
        metavar="mean|none|FILE|REGION",
    )

    @property
    def reference_region(self) -> str:
        """Name or number of the region that chi is to be relative to; empty for anything else."""
        known = self.reference in REFERENCES or Path(self.reference).is_file()
        return "" if known else self.reference
