"""What three independent checks tell of the sign of a map, and how sure it is together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qsmxt_app.qsm.sign_check import CLEAR, CLEAR_IRON, OPPOSITE
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.rendering import show_number
from qsmxt_app.segment.expected_values import compare, read_regional_values

AGREEING_NUCLEI = 0.75
"""Share of the iron-rich nuclei that must lie on one side of white matter to tell the sign."""

_CONFIDENCE = {0: "not known", 1: "medium confidence", 2: "high confidence", 3: "high confidence"}


def iron_rich_nuclei(output_dir: Path, record: ScanRecord) -> tuple[int, int]:
    """Return how many nuclei that hold iron are labelled, and how many of them lie below white matter."""
    compared = compare(read_regional_values(record.output(output_dir, "stats")))
    rich = [one for one in compared if one.expected.low > 0]
    return len(rich), sum(one.median < 0 for one in rich)


def describe_sign(output_dir: Path, record: ScanRecord) -> str:
    """Say whether iron is bright in a map, how sure that is, and by what; empty where nothing was checked.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Of the scan.
    """
    checks = list(_checks(output_dir, record))
    if not checks:
        return ""
    votes = [vote for vote, _ in checks if vote]
    if len(set(votes)) > 1:
        verdict = "contradictory"
    else:
        words = {1: "right, ", -1: "inverted, "}.get(sum(votes[:1]), "")
        verdict = words + _CONFIDENCE[len(votes)]
    return f"{verdict}: {'; '.join(text for _, text in checks)}"


def _checks(output_dir: Path, record: ScanRecord) -> Iterator[tuple[int, str]]:
    """Yield 1 for the right sign, -1 for the wrong one, 0 for what decides nothing, each with its words."""
    if (correlation := record.field.outline_correlation) is not None:
        vote = (correlation > CLEAR) - (correlation < OPPOSITE)
        what = ("does not decide", "predicts the field", "predicts the opposite field")[vote]
        yield vote, f"the outline of the head {what} (correlation {show_number(correlation, 2)})"
    rich, dark = iron_rich_nuclei(output_dir, record)
    if rich:
        vote = (rich - dark >= AGREEING_NUCLEI * rich) - (dark >= AGREEING_NUCLEI * rich)
        yield vote, f"{rich - dark} of {rich} iron-rich nuclei lie above white matter"
    if (contrast := record.checks.iron_contrast) is not None:
        vote = (contrast > CLEAR_IRON) - (contrast < -CLEAR_IRON)
        decided = "" if vote else ", which does not decide"
        yield vote, f"χ where R2* is highest: {contrast:+.2g} SD{decided}"
