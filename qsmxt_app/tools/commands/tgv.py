"""TGV-QSM of a total field, in one step."""

from __future__ import annotations

from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Reconstruct susceptibility, ppm, from wrapped phase, without unwrapping or background field removal."""
    from qsmxt_app.qsm.relaxation import has_tissue_signal
    from qsmxt_app.qsm.tgv import TGVOptions, measured_laplacian, solve_tgv

    images = given.images
    measured = measured_laplacian(
        images["magnitude"],
        images["phase"],
        given.echo_times,
        field_strength=given.field_strength,
        voxel_size=given.voxel_size,
        mask=images["mask"],
    )
    result = solve_tgv(
        measured.laplacian,
        images["mask"],
        noise=measured.noise,
        tissue=has_tissue_signal(images["magnitude"], given.echo_times, given.voxel_size),
        options=TGVOptions(
            max_iterations=int(given.options["iterations"]), tolerance=float(given.options["tolerance"])
        ),
        threads=given.threads,
        **given.geometry,
    )
    return Made({"chi": result.chi}, {"iterations": result.iterations, "converged": result.converged})


COMMAND = Command(
    "susceptibility from wrapped phase by TGV-QSM, in one step (one pass)",
    compute,
    outputs={"chi": "ppm"},
    needs=("magnitude", "phase", "mask"),
    echo_times=True,
    field_strength=True,
    options=(
        Option("iterations", 1000, "maximum number of iterations"),
        Option("tolerance", 0.05, "relative change of susceptibility below which it stops"),
    ),
)
