"""Background field removal: from the total to the local field. One module per method, listed here."""

from qsmxt_app.qsm.method import Registry

BACKGROUND_METHODS = Registry(
    "qsmxt_app.qsm.background.vsharp",
    "qsmxt_app.qsm.background.pdf",
    "qsmxt_app.qsm.background.resharp",
    "qsmxt_app.qsm.background.ismv",
    "qsmxt_app.qsm.background.lbv",
    "qsmxt_app.qsm.background.joint",
    offers={
        "voxel_size": "voxel edges in mm",
        "b0_direction": "unit vector of B0 in voxel axes",
        "weights": "inverse variance of the field",
        "threads": "number of threads",
    },
)
"""`function(total_field, mask, **needs)` with the total field in ppm gives a `BackgroundRemoval`."""
