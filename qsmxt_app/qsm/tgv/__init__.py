"""Total generalised variation QSM in one step: unwrapping, background removal and inversion."""

from qsmxt_app.qsm.tgv.convergence import Convergence
from qsmxt_app.qsm.tgv.field_laplacian import laplacian_of_field, measured_laplacian
from qsmxt_app.qsm.tgv.phase_laplacian import EchoLaplacian, combine_echoes, laplacian_of_phase
from qsmxt_app.qsm.tgv.regularisation import TGVOptions
from qsmxt_app.qsm.tgv.solve import TGVResult, solve_tgv, tgv_qsm

__all__ = [
    "Convergence",
    "EchoLaplacian",
    "TGVOptions",
    "TGVResult",
    "combine_echoes",
    "laplacian_of_field",
    "laplacian_of_phase",
    "measured_laplacian",
    "solve_tgv",
    "tgv_qsm",
]
