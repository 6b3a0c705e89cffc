"""The page of a participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.records.scan import read_records
from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec


class ReportInputSpec(StepInputSpec):
    """Inputs of `WriteReport`."""

    subject = traits.Str(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    volumes = traits.Str(mandatory=True, desc="none, small or full: those of the 3-D viewer")
    state = traits.Str(mandatory=True, desc="digest of what the page is made from, for the cache")


class ReportOutputSpec(StepOutputSpec):
    """Outputs of `WriteReport`."""

    page = File(exists=True)


class WriteReport(Step):
    """Write the page of a participant from what is on disk."""

    input_spec, output_spec = ReportInputSpec, ReportOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Measure the quality of every map for its record, then write `sub-XX.html` from the records."""
        from qsmxt_app.report.participant import build_participant_report
        from qsmxt_app.workflows.quality import record_quality

        given = self.inputs
        for record in read_records(Path(given.output_dir), given.subject):
            record_quality(Path(given.output_dir), record)
        self._results["page"] = str(
            build_participant_report(Path(given.output_dir), given.subject, volumes=given.volumes)
        )
        return {}
