"""The steps from raw images to a referenced susceptibility map, each a thin node."""

from qsmxt_app.workflows.nodes.contrast import FitRelaxation, WeightBySusceptibility
from qsmxt_app.workflows.nodes.field import FitField
from qsmxt_app.workflows.nodes.masks import BuildMasks
from qsmxt_app.workflows.nodes.prepare import Prepare
from qsmxt_app.workflows.nodes.report import WriteReport
from qsmxt_app.workflows.nodes.segmentation_atlas import LabelByAtlas, RegisterAtlas
from qsmxt_app.workflows.nodes.segmentation_outputs import WriteRegions, WriteT1w
from qsmxt_app.workflows.nodes.segmentation_scan import AlignToT1w, LabelScan
from qsmxt_app.workflows.nodes.segmentation_t1w import LabelByNetwork, PrepareT1w, TakeLabels
from qsmxt_app.workflows.nodes.susceptibility import CombineAndReference, EstimateChiNoise, InvertTGV
from qsmxt_app.workflows.nodes.two_step import InvertField, RemoveBackground

__all__ = [
    "AlignToT1w",
    "LabelByAtlas",
    "LabelByNetwork",
    "LabelScan",
    "PrepareT1w",
    "RegisterAtlas",
    "TakeLabels",
    "WriteRegions",
    "WriteT1w",
    "BuildMasks",
    "CombineAndReference",
    "EstimateChiNoise",
    "FitField",
    "FitRelaxation",
    "InvertField",
    "InvertTGV",
    "Prepare",
    "RemoveBackground",
    "WeightBySusceptibility",
    "WriteReport",
]
