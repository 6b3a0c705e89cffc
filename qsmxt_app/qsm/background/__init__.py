"""Background field removal: from the total to the local field."""

from qsmxt_app.qsm.background.boundary_value import lbv
from qsmxt_app.qsm.background.joint import joint
from qsmxt_app.qsm.background.pdf import pdf
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.background.sharp import ismv, resharp, vsharp

__all__ = ["BackgroundRemoval", "ismv", "joint", "lbv", "pdf", "resharp", "vsharp"]
