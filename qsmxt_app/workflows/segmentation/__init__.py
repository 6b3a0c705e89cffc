"""From a T1w image and a map to labelled regions and their values: the plan, the graph and its nodes."""

from qsmxt_app.workflows.segmentation.atlas import LabelByAtlas, RegisterAtlas
from qsmxt_app.workflows.segmentation.outputs import WriteRegions, WriteT1w
from qsmxt_app.workflows.segmentation.reference import ReferToRegion
from qsmxt_app.workflows.segmentation.scan import AlignToT1w, LabelScan
from qsmxt_app.workflows.segmentation.spaces import WriteSpaces
from qsmxt_app.workflows.segmentation.t1w import LabelByNetwork, PrepareT1w, UseExistingLabels

__all__ = [
    "AlignToT1w",
    "LabelByAtlas",
    "LabelByNetwork",
    "LabelScan",
    "PrepareT1w",
    "ReferToRegion",
    "RegisterAtlas",
    "UseExistingLabels",
    "WriteRegions",
    "WriteSpaces",
    "WriteT1w",
]
