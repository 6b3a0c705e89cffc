"""The steps from raw images to a referenced susceptibility map, each a thin node."""

from qsmxt_app.workflows.nodes.existing import LoadExistingMap
from qsmxt_app.workflows.nodes.field import FitField
from qsmxt_app.workflows.nodes.maps import ComputeMap
from qsmxt_app.workflows.nodes.masks import BuildMasks
from qsmxt_app.workflows.nodes.prepare import LoadAcquisition
from qsmxt_app.workflows.nodes.r2 import LoadR2
from qsmxt_app.workflows.nodes.report import WriteReport
from qsmxt_app.workflows.nodes.susceptibility import CombineAndReference, InvertTGV
from qsmxt_app.workflows.nodes.two_step import InvertField, RemoveBackground

__all__ = [
    "BuildMasks",
    "CombineAndReference",
    "ComputeMap",
    "FitField",
    "InvertField",
    "InvertTGV",
    "LoadAcquisition",
    "LoadExistingMap",
    "LoadR2",
    "RemoveBackground",
    "WriteReport",
]
