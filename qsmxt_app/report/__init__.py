"""Reports: one page per participant, an index, and the methods text, all from files on disk."""

from qsmxt_app.report.citation import write_citations
from qsmxt_app.report.index import build_index
from qsmxt_app.report.methods import Methods, describe_methods
from qsmxt_app.report.participant import build_participant_report

__all__ = ["Methods", "build_index", "build_participant_report", "describe_methods", "write_citations"]
