"""Error of the fitted total field against the truth of the digital subject, by region, and its cost.

Usage: python benchmarks/field.py [--voxel-size 2] [--seed 101] [--snr 80]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy import ndimage

from qsmxt_app.qsm.field import FieldFit, fit_total_field
from qsmxt_app.simulate.subject import Protocol, simulate_subject

PROTOCOLS = {
    "1 echo": ([0.020], False),
    "3 echoes": ([0.004, 0.012, 0.020], False),
    "5 echoes": ([0.004, 0.010, 0.016, 0.022, 0.028], False),
    "9 echoes bipolar": ([0.003 * e for e in range(1, 10)], True),
}


def regions(mask, truth, voxel_size) -> dict[str, np.ndarray]:
    """Brain parted by what makes a field hard: rim, steep fields (air, bone), veins; the rest is interior."""
    inner = ndimage.binary_erosion(mask)
    deep = ndimage.binary_erosion(mask, iterations=3)
    slope = np.sqrt(sum(g**2 for g in np.gradient(truth.total_field)))
    steep = slope > np.quantile(slope[mask], 0.9)
    veins = np.isin(truth.labels, [k for k, name in truth.label_names.items() if "vein" in str(name).lower()])
    return {
        "whole": mask,
        "interior": deep & ~steep & ~veins,
        "rim": mask & ~inner,
        "steep": inner & steep,
        "veins": inner & veins,
    }


def report(found: FieldFit, truth, mask, voxel_size) -> None:
    error = found.total_field - truth.total_field
    error = error - np.median(error[mask])
    spread = truth.total_field[mask].std()
    for name, region in regions(mask, truth, voxel_size).items():
        if not region.any():
            continue
        e, noise = error[region], found.field_noise[region]
        trusted = found.trust[region] > 0.8
        print(
            f"  {name:9s} {region.sum():8d} voxels  rms {np.sqrt(np.mean(e**2)):7.3f} Hz "
            f"({100 * np.sqrt(np.mean(e**2)) / spread:5.2f} %)  MAD {1.4826 * np.median(np.abs(e)):6.3f}  "
            f"claimed {np.median(noise):6.3f}  error/claimed SD {np.std(e / noise):5.2f} "
            f"MAD {1.4826 * np.median(np.abs(e / noise)):5.2f}  trusted {trusted.mean():.3f} "
            f"(rms {np.sqrt(np.mean(e[trusted] ** 2)):6.3f})  "
            f"off a turn {np.sum(np.abs(e) > found.period / 2)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxel-size", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--snr", type=float, default=80.0)
    options = parser.parse_args()
    for name, (times, bipolar) in PROTOCOLS.items():
        protocol = Protocol(
            voxel_size=(options.voxel_size,) * 3, echo_times=tuple(times), snr=options.snr, bipolar=bipolar
        )
        head = simulate_subject(options.seed, protocol=protocol)
        mask = head.truth.brain_mask
        arguments = {"mask": mask, "voxel_size": head.voxel_size, "bipolar": bipolar}
        small = {**arguments, "mask": mask[::4, ::4, ::4]}
        fit_total_field(head.magnitude[::4, ::4, ::4], head.phase[::4, ::4, ::4], times, **small)  # compile
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        found = fit_total_field(head.magnitude, head.phase, times, **arguments)
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{name}: {seconds:.2f} s, peak grew by {grown:.0f} MB, noise level {found.noise_level:.4g}")
        report(found, head.truth, mask, head.voxel_size)


if __name__ == "__main__":
    main()
