"""The page of a participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.workflows.node_base import Step, StepInputSpec, StepOutputSpec


class ReportInputSpec(StepInputSpec):
    """Inputs of `WriteReport`."""

    subject = traits.Str(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    volumes = traits.Str(mandatory=True, desc="none, small or full: those of the 3-D viewer")


class ReportOutputSpec(StepOutputSpec):
    """Outputs of `WriteReport`."""

    page = File(exists=True)


class WriteReport(Step):
    """Write the page of a participant from what is on disk."""

    input_spec, output_spec = ReportInputSpec, ReportOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write the quality measures of every map, then `sub-XX.html`, which shows them."""
        from qsmxt_app.report.participant import build_participant_report
        from qsmxt_app.report.quality import write_quality
        from qsmxt_app.report.scan_record import read_records

        given = self.inputs
        for record in read_records(Path(given.output_dir), given.subject):
            write_quality(Path(given.output_dir), record)
        self._results["page"] = str(
            build_participant_report(Path(given.output_dir), given.subject, volumes=given.volumes)
        )
        return {}
