"""Dipole inversion: from the local field to susceptibility. One module per method, listed here."""

from qsmxt_app.qsm.method import Registry

INVERSION_METHODS = Registry(
    "qsmxt_app.qsm.inversion.rts",
    "qsmxt_app.qsm.inversion.tv",
    "qsmxt_app.qsm.inversion.nonlinear",
    offers={
        "voxel_size": "voxel edges in mm",
        "b0_direction": "unit vector of B0 in voxel axes",
        "weights": "inverse variance of the field, 0 where it was not measured",
        "noise": "standard deviation of the field's error at the mean weight, in ppm",
        "echo_time": "echo spacing, or the time of a single echo, in s",
        "field_strength": "B0 in T",
        "threads": "number of threads",
    },
)
"""`function(local_field, mask, **needs)` with the local field in ppm gives an `Inversion`."""
