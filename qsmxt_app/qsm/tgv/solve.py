"""TGV-QSM: from the Laplacian of the measured field to susceptibility, in one convex problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.coarse_start import continue_on, halve
from qsmxt_app.qsm.tgv.convergence import Convergence, ConvergenceMonitor
from qsmxt_app.qsm.tgv.field_laplacian import measured_laplacian
from qsmxt_app.qsm.tgv.iteration import Iteration, balance, prepare, thread_count
from qsmxt_app.qsm.tgv.layout import mean_edge
from qsmxt_app.qsm.tgv.problem import Problem, build_problem
from qsmxt_app.qsm.tgv.regularisation import (
    Strength,
    TGVOptions,
    relative_weight,
    scaled_slack,
    strength_for,
)
from qsmxt_app.qsm.tgv.returned_residual import return_residual

# sd(chi) over the root mean square of its Laplacian in units of voxels: only the first 25 iterations depend
# on it
_SPREAD_PER_LAPLACIAN = 0.6
_REBALANCED_CHECKS = 2
_COARSE_ITERATIONS = 150
_RETURN_AT = 2.0
"""Tolerances of the change of chi at which the residual is given back: the rest is iterated only once."""
_DEFAULTS = TGVOptions()


@dataclass(frozen=True)
class TGVResult:
    """A susceptibility map and how it converged.

    Attributes
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm relative to its mean in the mask; 0 outside.
    iterations : int
    converged : bool
        Whether the criterion was met before the cap.
    history : Convergence
    """

    chi: FloatArray
    iterations: int
    converged: bool
    history: Convergence


def solve_tgv(
    laplacian: FloatArray,
    mask: BoolArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    noise: FloatArray | None = None,
    tissue: BoolArray | None = None,
    options: TGVOptions = _DEFAULTS,
    threads: int | None = None,
) -> TGVResult:
    """Find the susceptibility whose field has the measured Laplacian.

    Solves::

        min over chi, phi, w, e   sum W phi^2 / 2 + alpha1 |grad chi - w| + alpha0 |sym grad w| + slack |e|
        such that                 Lap(phi) + e = Wave(chi) - laplacian   at every voxel of the mask

    with ``Wave = Lap / 3 - (b . grad)^2``. A background field is harmonic in the mask and so is in neither
    side: phi is the noise of the measured field, and W, its inverse variance, makes this the maximum a
    posteriori estimate. chi and phi also live on the neighbours of the mask: the Laplacian at the rim holds
    their noise and their susceptibility too. Where a neighbour has no signal its W is next to nothing and the
    equation at the rim says nothing, voxel by voxel, with no erosion. The sparse e, in the outermost layers
    only, takes up what is not from tissue, above all the share of bone or air that voxels at the rim hold:
    without it, chi at the rim is off by ten times its size. Where the signal is tissue's (or blood's) and
    noise is low, e is penalised more in the outermost layer and does not exist deeper: it would take up veins
    on the brain's surface. Its penalty only bounds the equation's dual.

    The primal-dual method of Chambolle & Pock with over-relaxation, balanced steps, and a multilevel
    preconditioner for the dual of the field equation; large problems start from the solution at half the
    resolution. In noise a part of the residual is given back, as regularisation lowers contrast
    (:mod:`~qsmxt_app.qsm.tgv.returned_residual`). The result does not depend on the number of threads.

    Parameters
    ----------
    laplacian : ndarray (x, y, z)
        Laplacian of the field in ppm / mm^2; used in the mask only.
    mask : ndarray (x, y, z), bool
        Where the field is known.
    voxel_size
        Voxel edges in mm.
    b0_direction
        B0 in voxel axes, any length.
    noise : ndarray (x, y, z), optional
        Standard deviation of the field in ppm, also beside the mask; uniform without.
    tissue : ndarray (x, y, z), bool, optional
        Where the signal is tissue's (:func:`~qsmxt_app.qsm.relaxation.has_tissue_signal`); not known
        without.
    options
        Regularisation and stopping.
    threads
        Number of threads; all without.

    Returns
    -------
    TGVResult

    Raises
    ------
    ValueError
        If the mask is empty, shapes differ, or the Laplacian is not finite somewhere in the mask.

    References
    ----------
    Langkammer C, et al. NeuroImage 111:622-630 (2015): the functional, with W = 1 and D the mask.
    Bredies K, Kunisch K, Pock T. SIAM J Imaging Sci 3:492-526 (2010): total generalised variation.
    Chambolle A, Pock T. J Math Imaging Vis 40:120-145 (2011); Condat L. J Optim Theory Appl 158:460-479
    (2013).
    """
    mask = np.asarray(mask, dtype=bool)
    _validate(laplacian, mask, voxel_size, b0_direction, noise, tissue)
    weight, noise_level = relative_weight(noise, mask, options)
    strength = strength_for(options, noise_level, voxel_size)
    threads_before = numba.get_num_threads()
    try:
        problem, history, converged = _solve(
            (laplacian, mask, weight, tissue), voxel_size, b0_direction, strength, options, threads
        )
    finally:
        numba.set_num_threads(threads_before)
    chi = problem.rows.to_volume(problem.rows.unflatten(problem.state[sweep.CHI]))
    chi = np.where(mask, chi - chi[mask].mean(dtype=np.float64), 0).astype(np.float32)
    return TGVResult(chi, history.iterations, converged, history)


def tgv_qsm(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: Sequence[float],
    mask: BoolArray,
    *,
    field_strength: float,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    bipolar: bool = False,
    options: TGVOptions = _DEFAULTS,
    threads: int | None = None,
) -> TGVResult:
    """Susceptibility from wrapped phase in one call.

    :func:`measured_laplacian`, then :func:`solve_tgv`. Parameters and errors are theirs.
    """
    measured = measured_laplacian(
        magnitude,
        phase,
        echo_times,
        field_strength=field_strength,
        voxel_size=voxel_size,
        mask=mask,
        bipolar=bipolar,
    )
    return solve_tgv(
        measured.laplacian,
        mask,
        voxel_size=voxel_size,
        b0_direction=b0_direction,
        noise=measured.noise,
        tissue=has_tissue_signal(magnitude, echo_times, voxel_size),
        options=options,
        threads=threads,
    )


def _validate(
    laplacian: FloatArray,
    mask: BoolArray,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    noise: FloatArray | None,
    tissue: BoolArray | None,
) -> None:
    if laplacian.ndim != 3 or laplacian.shape != mask.shape:
        raise ValueError(f"the Laplacian {laplacian.shape} and the mask {mask.shape} differ in shape")
    if tissue is not None and tissue.shape != mask.shape:
        raise ValueError(f"the tissue {tissue.shape} and the mask {mask.shape} differ in shape")
    if noise is not None and noise.shape != mask.shape:
        raise ValueError(f"the noise {noise.shape} and the mask {mask.shape} differ in shape")
    if not mask.any():
        raise ValueError("the mask is empty")
    if not np.isfinite(laplacian[mask]).all():
        count = int(np.count_nonzero(~np.isfinite(laplacian[mask])))
        raise ValueError(f"the Laplacian is not finite at {count} voxels of the mask")
    if len(voxel_size) != 3 or not all(h > 0 for h in voxel_size):
        raise ValueError(f"voxel_size must be three positive edges in mm, not {voxel_size}")
    norm = float(np.linalg.norm(b0_direction))
    if len(b0_direction) != 3 or not (np.isfinite(norm) and norm > 0):
        raise ValueError(f"b0_direction must be a vector of three numbers, not {b0_direction}")


def _solve(
    data: tuple[FloatArray, BoolArray, FloatArray | None, BoolArray | None],
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    strength: Strength,
    options: TGVOptions,
    threads: int | None,
    axes: tuple[int, int, int] | None = None,
) -> tuple[Problem, Convergence, bool]:
    """Solve, from the solution at half the resolution where the problem is large."""
    length = mean_edge(voxel_size)
    problem = build_problem(
        *data,
        voxel_size=voxel_size,
        b0_direction=b0_direction,
        extend=options.extend,
        tissue_factors=strength.tissue_factors,
        slack=[penalty * strength.alpha[0] / length for penalty in scaled_slack(options, voxel_size)],
        axes=axes,
    )
    _regularise(problem, options, strength.alpha)
    coarse = None
    halved = halve(*data)
    if halved is not None:
        edges = [2 * edge for edge in voxel_size]
        rough = replace(options, max_iterations=min(_COARSE_ITERATIONS, options.max_iterations))
        start = strength._replace(returned_share=0.0)
        coarse, _, _ = _solve(halved, edges, b0_direction, start, rough, threads, problem.rows.axes)
    used = thread_count(threads, problem.rows.size)
    numba.set_num_threads(used)
    return problem, *_iterate(prepare(problem, threads=used), coarse, strength.returned_share, options)


def _regularise(problem: Problem, options: TGVOptions, alpha: tuple[float, float]) -> None:
    c = problem.coefficients
    c[sweep.C_ALPHA_1], c[sweep.C_ALPHA_0] = alpha[0] / problem.length, alpha[1] / problem.length**2
    c[sweep.C_RIM] = options.rim_alpha
    c[sweep.C_RELAX] = options.relaxation


def _iterate(
    iteration: Iteration, coarse: Problem | None, share: float, options: TGVOptions
) -> tuple[Convergence, bool]:
    """Start from a coarse problem's solution, if any; iterate to the criterion or the cap.

    A share of the residual is given back when the criterion is first met, and the iteration goes on.
    """
    problem, history = iteration.problem, Convergence()
    watch = ConvergenceMonitor(problem)
    if watch.data_norm == 0:
        return history.and_then(0, 0.0, 0.0), True
    if coarse is None:
        balance(iteration, _SPREAD_PER_LAPLACIAN * watch.data_norm)
    else:
        balance(
            iteration,
            ConvergenceMonitor(coarse).check().chi_spread or _SPREAD_PER_LAPLACIAN * watch.data_norm,
        )
        continue_on(coarse, problem)
        watch.check()
    returned_at = None if share > 0 else 0  # 0: nothing is to be given back
    while history.iterations < options.max_iterations:
        count = min(options.check_every, options.max_iterations - history.iterations)
        iteration.run(count)
        seen = watch.check()
        history = history.and_then(
            history.iterations + count, seen.chi_change / max(seen.chi_spread, 1e-30), seen.equation_residual
        )
        if returned_at is None:
            if history.chi_change[-1] < _RETURN_AT * options.tolerance:
                return_residual(problem, share)
                returned_at = history.iterations
        elif history.met(options.tolerance, options.equation_tolerance, returned_at):
            return history, True
        if coarse is None and len(history.iteration) <= _REBALANCED_CHECKS and seen.chi_spread > 0:
            balance(iteration, seen.chi_spread)
    return history, False
