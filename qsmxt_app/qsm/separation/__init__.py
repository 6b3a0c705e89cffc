"""Source separation: from chi and R2' to paramagnetic and diamagnetic sources. One module per method."""

from qsmxt_app.qsm.method import Registry

SEPARATION_METHODS = Registry(
    "qsmxt_app.qsm.separation.joint",
    "qsmxt_app.qsm.separation.closed_form",
    "qsmxt_app.qsm.separation.r2star_qsm",
    "qsmxt_app.qsm.separation.chi_separation",
    offers={
        "r2prime": "1/s",
        "r2prime_noise": "its standard error, 1/s",
        "r2star": "1/s",
        "relaxivity": "R2' of a ppm of sources, 1/s",
        "chi_noise": "standard error of chi, ppm",
        "magnitude": "combined over echoes",
        "voxel_size": "voxel edges in mm",
        "b0_direction": "unit vector of B0 in voxel axes",
        "threads": "number of threads",
    },
)
"""`function(chi, mask, **needs)` with chi in ppm relative to water gives `SeparatedSources`."""
