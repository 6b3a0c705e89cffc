"""What all pages say of a scan: its findings, and what they mean for who wants to use the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.findings import Finding, find, verdict, worst
from qsmxt_app.report.panels.regional_values import regional_findings


@dataclass(frozen=True)
class Judgement:
    """The findings of a scan, the level of the most serious one, and the verdict in words."""

    findings: tuple[Finding, ...]
    level: str
    verdict: str


def judge(output_dir: Path, record: ScanRecord, missing: Sequence[str] = ()) -> Judgement:
    """Judge a scan.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        What was done, and what the maps show.
    missing
        As for `find`.
    """
    findings = (*find(record, missing), *regional_findings(output_dir, record))
    level = worst(findings)
    return Judgement(findings, level, verdict(record, level))
