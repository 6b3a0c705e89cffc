"""Phase unwrapping inside a mask. One module per method, listed here."""

from qsmxt_app.qsm.method import Registry

UNWRAPPING_METHODS = Registry(
    "qsmxt_app.qsm.unwrapping.romeo",
    "qsmxt_app.qsm.unwrapping.laplacian",
    offers={
        "voxel_size": "voxel edges in mm",
        "magnitude": "reliability of the phase in each voxel, in any unit",
    },
)
"""`function(phase, mask, **needs)` with the wrapped phase in rad gives the unwrapped phase, 0 outside."""
