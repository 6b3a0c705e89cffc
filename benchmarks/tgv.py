"""Speed of the TGV-QSM solver against the machine's memory bandwidth.

    python benchmarks/tgv.py [--voxel-size 1.0] [--threads 2] [--tilt]

Prints milliseconds an iteration, iterations and seconds to convergence, bandwidth achieved and available,
and bytes a voxel.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import TGVOptions, solve_tgv, sweep
from qsmxt_app.qsm.tgv.iteration import balance, prepare
from qsmxt_app.qsm.tgv.problem import build_problem

# arrays that an iteration must read, and those that it must also write: 15 variables and the residual, of 4
# bytes; weight, data, cap and flags. The residual is written by the sweep and read twice by the
# preconditioner.
BYTES_AN_ITERATION = 15 * 8 + 12 + 3 * 4 + 2


@numba.njit(parallel=True, fastmath=True)
def triad(a, b, c):
    for i in numba.prange(a.size):
        a[i] = a[i] * np.float32(0.5) + b[i] * c[i]


def best_of(count: int, run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bandwidth() -> float:
    """GB/s of a read-modify-write triad on arrays beyond any cache.

    The arrays are written first: memory that was only reserved is one page of zeros, which the cache holds.
    """
    a, b, c = (np.ones(30_000_000, np.float32) for _ in range(3))
    triad(a, b, c)
    return 16 * a.size / best_of(5, lambda: triad(a, b, c)) / 1e9


def head(voxel_size: float, b0_direction: tuple[float, float, float]) -> tuple[NDArray, NDArray]:
    """An ellipsoid of a head's brain volume with random structure; Laplacian in ppm / mm^2 and mask."""
    shape = [round(n / voxel_size) for n in (164, 196, 164)]
    grid = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    mask = (grid[0] / 0.86) ** 2 + (grid[1] / 0.89) ** 2 + (grid[2] / 0.88) ** 2 < 1
    rng = np.random.default_rng(0)
    chi = sum(
        scipy.ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), s) * s**1.5
        for s in (1, 3)
    )
    chi *= mask * np.float32(0.03 / chi.std())
    field = forward_field(chi, voxel_size=[voxel_size] * 3, b0_direction=b0_direction, padding=1.2)
    field += np.float32(6e-4) * rng.standard_normal(shape, dtype=np.float32)
    laplacian = scipy.ndimage.laplace(field) / np.float32(voxel_size**2)
    return laplacian, mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS)
    parser.add_argument("--tilt", action="store_true", help="B0 tilted by 30 degrees")
    arguments = parser.parse_args()
    numba.set_num_threads(arguments.threads)
    direction = (0.3, 0.4, 0.866) if arguments.tilt else (0.0, 0.0, 1.0)
    geometry = {"voxel_size": [arguments.voxel_size] * 3, "b0_direction": direction}
    laplacian, mask = head(arguments.voxel_size, direction)
    voxels = int(mask.sum())

    problem = build_problem(laplacian, mask, None, **geometry)
    problem.coefficients[sweep.C_ALPHA_1 : sweep.C_RELAX + 1] = (1e-4, 6e-5, 100.0, 1.9)
    iteration = prepare(problem, threads=arguments.threads)
    balance(iteration, 0.03)
    iteration.run(3)
    available, swept, whole = [], [], []
    for _ in range(4):  # interleaved, so that a busy moment hits all
        available.append(bandwidth())
        swept.append(best_of(5, iteration.sweep))
        whole.append(best_of(5, lambda: iteration.run(1)))
    bound = BYTES_AN_ITERATION * voxels / max(available) / 1e9
    ratio = min(whole) / bound
    arrays = [problem.state, problem.flags, iteration.ring, *problem.rows.positions]
    arrays += [*iteration.multilevel.values, *iteration.multilevel.gains] if iteration.multilevel else []

    noise = np.full(mask.shape, 6e-4, np.float32)
    start = time.perf_counter()
    result = solve_tgv(
        laplacian, mask, noise=noise, options=TGVOptions(), threads=arguments.threads, **geometry
    )
    seconds = time.perf_counter() - start
    print(f"masked voxels            {voxels / 1e6:8.2f} million, {arguments.threads} threads")
    print(f"memory bandwidth         {max(available):8.1f} GB/s (triad, read-modify-write)")
    print(f"an iteration             {min(whole) * 1e3:8.1f} ms, {min(whole) / voxels * 1e9:.1f} ns a voxel")
    print(f"  of which the sweep     {min(swept) * 1e3:8.1f} ms")
    print(f"  bandwidth bound        {bound * 1e3:8.1f} ms, {ratio:.2f} times that are needed")
    print(f"  bandwidth achieved     {BYTES_AN_ITERATION * voxels / min(whole) / 1e9:8.1f} GB/s")
    print(
        f"converged                {result.converged!s:>8} in {result.iterations} iterations, {seconds:.1f} s"
    )
    print(f"working memory           {sum(a.nbytes for a in arrays) / voxels:8.0f} bytes a masked voxel")


if __name__ == "__main__":
    main()
