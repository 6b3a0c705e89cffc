"""Total generalised variation QSM in one step: unwrapping, background removal and inversion."""

from .convergence import Convergence
from .echoes import EchoLaplacian, combine_echoes, laplacian_of_phase
from .fitted import laplacian_of_fit, measured_laplacian
from .regularisation import TGVOptions
from .solve import TGVResult, solve_tgv, tgv_qsm

__all__ = [
    "Convergence",
    "EchoLaplacian",
    "TGVOptions",
    "TGVResult",
    "combine_echoes",
    "laplacian_of_fit",
    "laplacian_of_phase",
    "measured_laplacian",
    "solve_tgv",
    "tgv_qsm",
]
