"""The statistics of regional values, in the words of a methods section."""

from __future__ import annotations

from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.records.group import GroupRecord

_CORRECTIONS = {
    "fdr": "the false discovery rate [@benjamini1995]",
    "holm": "the family-wise error by Holm's method [@holm1979]",
    "bonferroni": "the family-wise error by Bonferroni's method",
}


def model_sentences(record: GroupRecord | None) -> tuple[str, ...]:
    """Write how regional values were compared; nothing where they were not."""
    model = record.model if record else None
    if not model:
        return ()
    kind = (
        "linear mixed models with a random intercept of each participant [@laird1982], by restricted maximum "
        "likelihood"
        if model.mixed
        else "ordinary least squares"
    )
    quantity = MEASURED[model.measure].quantity if model.measure in MEASURED else _plain(model.measure)
    doubtful = "left out" if model.doubtful == "exclude" else "kept"
    references = ", ".join(f"{_plain(name)}: {_plain(level)}" for name, level in model.references.items())
    relative = f" Reference levels were {references}." if references else ""
    centred = " Numbers were relative to their mean." if model.centres else ""
    return (
        f"The {_plain(model.value)} {quantity} of {model.regions} regions in {model.scans} scans of "
        f"{model.participants} participants was compared by {kind}, computed with statsmodels "
        f"[@seabold2010], by the formula {_plain(model.formula)}.{relative}{centred} Two-sided p values of "
        "each term were corrected over regions for "
        f"{_CORRECTIONS.get(model.correction, _plain(model.correction))}. Values marked as doubtful were "
        f"{doubtful}. Residuals were tested for normality [@shapiro1965].",
        *_voxelwise_sentences(record),
    )


def _voxelwise_sentences(record: GroupRecord | None) -> tuple[str, ...]:
    voxelwise = record.voxelwise if record else None
    if not voxelwise:
        return ()
    size = "\N{MULTIPLICATION SIGN}".join(f"{edge:.3g}" for edge in voxelwise.voxel_size)
    return (
        f"Maps of {voxelwise.participants} participants in the space of the template, smoothed by a Gaussian "
        f"of {voxelwise.fwhm_mm:g} mm full width at half maximum, were compared by the same terms in "
        f"{voxelwise.voxels} voxels of {size} mm that all participants have. Each term was tested by "
        f"{voxelwise.permutations} permutations with the other terms as nuisance [@winkler2014] and "
        "threshold-free cluster enhancement [@smith2009], two-sided, with nilearn [@abraham2014]; p values "
        "are corrected for the family-wise error over voxels.",
    )


def _plain(value: str) -> str:
    return value.replace("[@", "[ @")
