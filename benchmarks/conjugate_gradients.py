"""Our conjugate gradients beside SciPy's, in the methods that use them, on a simulated head.

    python benchmarks/conjugate_gradients.py                 # 2 mm
    python benchmarks/conjugate_gradients.py --voxel-size 1.5

Prints for each method the seconds and the iterations of both and how much their results differ, and how far
off a sum of squares is in SciPy's, which accumulates in the arrays' own precision.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse.linalg

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients, inner_product
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.simulate import Protocol, simulate_subject

USERS = (
    ("pdf", BACKGROUND_METHODS),
    ("resharp", BACKGROUND_METHODS),
    ("joint", BACKGROUND_METHODS),
    ("rts", INVERSION_METHODS),
)
Solver = Callable[..., tuple[FloatArray, int, bool]]


def by_scipy(
    operator: Callable[[FloatArray], FloatArray],
    rhs: FloatArray,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
) -> tuple[FloatArray, int, bool]:
    """Solve as `conjugate_gradients` does, by SciPy."""
    steps = []
    linear = scipy.sparse.linalg.LinearOperator(
        (rhs.size, rhs.size), lambda x: operator(x.reshape(rhs.shape)).ravel(), dtype=rhs.dtype
    )
    solution, info = scipy.sparse.linalg.cg(
        linear, rhs.ravel(), rtol=tolerance, maxiter=max_iterations, callback=steps.append
    )
    return solution.reshape(rhs.shape), len(steps), info == 0


def main() -> None:
    """Print one line for every method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxel-size", type=float, default=2.0)
    args = parser.parse_args()
    subject = simulate_subject(seed=101, protocol=Protocol(voxel_size=(args.voxel_size,) * 3))
    per_ppm = np.float32(hz_per_ppm(subject.field_strength))
    mask, truth = subject.truth.brain_mask, subject.truth
    noise = np.random.default_rng(0).normal(0, 1e-3, mask.shape).astype(np.float32)
    total, local = truth.total_field / per_ppm + noise, truth.local_field / per_ppm + noise
    weights = (truth.r2star < 40).astype(np.float32) + np.float32(0.2)
    scan = {"voxel_size": subject.voxel_size, "b0_direction": subject.b0_direction, "weights": weights}
    print(f"{'method':8} {'ours s':>7} {'scipy s':>8} {'iterations':>12} {'difference':>11}")
    for name, registry in USERS:
        field = local if registry is INVERSION_METHODS else total
        results = []
        for solver in (conjugate_gradients, by_scipy):
            with mock.patch(f"{registry[name].function.__module__}.conjugate_gradients", solver):
                registry[name](field, mask, noise=1e-3, **scan)  # compiles
                start = time.perf_counter()
                result = registry[name](field, mask, noise=1e-3, **scan)
                results.append((result, time.perf_counter() - start))
        (ours, first), (other, second) = results
        difference = np.linalg.norm(image(ours) - image(other)) / np.linalg.norm(image(ours))
        iterations = f"{ours.iterations} and {other.iterations}"
        print(f"{name:8} {first:7.2f} {second:8.2f} {iterations:>12} {difference:11.1e}")
    values = np.random.default_rng(0).standard_normal(3_000_000).astype(np.float32)
    exact = inner_product(values.astype(np.float64), values.astype(np.float64))
    ours_error, other_error = (
        total / exact - 1 for total in (inner_product(values, values), values @ values)
    )
    print(
        f"relative error of a sum of {values.size} squares: ours {ours_error:.0e}, scipy's {other_error:.0e}"
    )


def image(result: Any) -> FloatArray:
    """Return what a method computes."""
    return np.asarray(result.chi if hasattr(result, "chi") else result.local_field)


if __name__ == "__main__":
    main()
