"""The steps from raw images to a referenced susceptibility map, each a thin node."""

from qsmxt_app.workflows.nodes.contrast import ComputeSWI, FitRelaxation
from qsmxt_app.workflows.nodes.field import FitField
from qsmxt_app.workflows.nodes.masks import BuildMasks
from qsmxt_app.workflows.nodes.prepare import LoadAcquisition
from qsmxt_app.workflows.nodes.report import WriteReport
from qsmxt_app.workflows.nodes.susceptibility import CombineAndReference, EstimateChiNoise, InvertTGV
from qsmxt_app.workflows.nodes.two_step import InvertField, RemoveBackground

__all__ = [
    "BuildMasks",
    "CombineAndReference",
    "EstimateChiNoise",
    "FitField",
    "FitRelaxation",
    "InvertField",
    "InvertTGV",
    "LoadAcquisition",
    "RemoveBackground",
    "ComputeSWI",
    "WriteReport",
]
