"""The maps of noise and of the expected error, beside repeated scans of a simulated head and its truth.

    python benchmarks/noise.py                                  # 3 mm, three signal-to-noise ratios
    python benchmarks/noise.py --voxel-size 2 --anatomy elderly --seed 31 --snr 80

For each signal-to-noise ratio and region: the spread over scans (ppb), the root mean square of the map of
noise of the first scan over it, and the standard deviation of the error of all scans over the map of the
expected error. Regions are white matter, cortex and nuclei below the outermost two voxels of the brain, and
these (rim).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.arrays import BoolArray
from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol, simulate_subject
from qsmxt_app.simulate.person import Anatomy
from qsmxt_app.simulate.subject import DigitalSubject, Truth
from qsmxt_app.simulate.tissues import LABELS
from qsmxt_app.tools.reconstruct import reconstruct
from qsmxt_app.tools.reconstruction import Reconstruction

RIM_VOXELS = 2


def regions(truth: Truth) -> dict[str, BoolArray]:
    """White matter, nuclei and cortex inside the brain, and its rim."""
    inner = ndimage.binary_erosion(truth.brain_mask, iterations=RIM_VOXELS)

    def inside(*labels: int) -> BoolArray:
        return inner & np.isin(truth.labels, labels)

    both = ("Left-Cerebral-", "Right-Cerebral-")
    return {
        "white matter": inside(*(LABELS[f"{side}White-Matter"] for side in both)),
        "deep grey": inside(*(label for labels in DEEP_GREY_NUCLEI.values() for label in labels)),
        "cortex": inside(*(LABELS[f"{side}Cortex"] for side in both)),
        "rim": truth.brain_mask & ~inner,
    }


def scan_again(subject: DigitalSubject, snr: float, number: int) -> DigitalSubject:
    """Return a scan without noise with noise of its own."""
    sigma = subject.magnitude[subject.truth.brain_mask, 0].mean() / snr
    real, imaginary = np.random.default_rng(number).normal(0, sigma, (2, *subject.magnitude.shape))
    signal = subject.magnitude * np.exp(1j * subject.phase.astype(np.float64)) + real + 1j * imaginary
    return replace(
        subject, magnitude=np.abs(signal).astype(np.float32), phase=np.angle(signal).astype(np.float32)
    )


def reconstructed(subject: DigitalSubject, **settings: Any) -> Reconstruction:
    """Run the default reconstruction."""
    return reconstruct(
        subject.magnitude, subject.phase, echo_times=subject.echo_times, voxel_size=subject.voxel_size,
        field_strength=subject.field_strength, b0_direction=subject.b0_direction, swi=False, **settings,
    )  # fmt: skip


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--anatomy", choices=get_args(Anatomy), default="adult")
    parser.add_argument("--voxel-size", type=float, default=3.0)
    parser.add_argument("--snr", type=float, nargs="+", default=[80, 20, 7])
    parser.add_argument("--scans", type=int, default=8)
    args = parser.parse_args()
    protocol = Protocol((args.voxel_size,) * 3, anatomy=args.anatomy, snr=1e5)
    clean = simulate_subject(args.seed, protocol=protocol)
    truth = clean.truth
    print(f"{'SNR':>4} {'region':12} {'spread':>7} {'noise':>6} {'z':>5}")
    for snr in args.snr:
        first = reconstructed(scan_again(clean, snr, 0))
        others = (reconstructed(scan_again(clean, snr, i), chi_noise=False) for i in range(1, args.scans))
        chi = np.stack([first.chi, *(other.chi for other in others)])
        known = truth.brain_mask & (first.maps["chi_error"] > 0)
        error = chi - truth.chi
        error -= error[:, known].mean(axis=1)[:, None, None, None]
        for name, region in regions(truth).items():
            part = region & known
            spread = np.sqrt(chi[:, part].var(axis=0, ddof=1).mean())
            ratio = np.sqrt(np.mean(first.maps["chi_noise"][part] ** 2)) / spread
            z = np.std(error[:, part] / first.maps["chi_error"][part])
            print(f"{snr:4g} {name:12} {1e3 * spread:7.2f} {ratio:6.2f} {z:5.2f}", flush=True)


if __name__ == "__main__":
    main()
