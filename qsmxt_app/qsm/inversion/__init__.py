"""Dipole inversion: from a field to the susceptibility."""

from qsmxt_app.qsm.inversion.nonlinear import nonlinear
from qsmxt_app.qsm.inversion.result import Inversion, TotalFieldInversion
from qsmxt_app.qsm.inversion.rts import rts
from qsmxt_app.qsm.inversion.total_field import total_field_inversion
from qsmxt_app.qsm.inversion.tv import tv

__all__ = ["Inversion", "TotalFieldInversion", "nonlinear", "rts", "total_field_inversion", "tv"]
