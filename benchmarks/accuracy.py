"""How close the command comes to the truth: simulate people, run ``qsmxt`` on them, score what it wrote.

    python benchmarks/accuracy.py        # 1 mm, 3 T, 5 echoes, SNR 80; three people, straight and tilted
    python benchmarks/accuracy.py --voxel-size 2 --seeds 101 --directions straight --presets gre fast bet

Every line is one run of the real command, from raw phase with its own mask. Scores are over the whole true
brain.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scoring import Score, score
from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol
from qsmxt_app.simulate.dataset import write_dataset

DIRECTIONS = {"straight": (0.0, 0.0, 1.0), "tilted": (0.0, 0.5, 0.8660254)}
MASKS = ("own", "true")
COLUMNS = (
    f"{'seed':>4} {'B0':8} {'voxel mm':12} {'SNR':>4} {'echoes':8} {'preset':9} {'mask':5}"
    f" {'NRMSE':>6} {'XSIM':>6} {'HFEN':>6} {'rim':>6} {'covers':>6} {'slope':>6} {'bias':>7}"
    f" {'s':>6} {'MB':>6} {'iter':>5}"
)


@dataclass(frozen=True)
class Case:
    """One simulated scan and how it is processed."""

    seed: int
    direction: str
    voxel_size: tuple[float, float, float]
    snr: float
    echoes: int
    preset: str
    mask: str
    bipolar: bool = False

    @property
    def protocol(self) -> Protocol:
        times = (0.015,) if self.echoes == 1 else tuple(0.005 * (1 + i) for i in range(self.echoes))
        if self.echoes > 5:
            times = tuple(round(0.004 + 0.0035 * i, 6) for i in range(self.echoes))
        return Protocol(
            voxel_size=self.voxel_size, echo_times=times, b0_direction=DIRECTIONS[self.direction],
            snr=self.snr, bipolar=self.bipolar,
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    score: Score
    seconds: float
    megabytes: float
    iterations: int


def run_case(case: Case, folder: Path) -> Outcome:
    """Simulate, run the command, and score its map."""
    raw, truth, out = folder / "raw", folder / "truth", folder / "out"
    write_dataset(raw, seed=case.seed, protocol=case.protocol, truth=truth)
    command = [sys.executable, "-m", "qsmxt_app", str(raw), str(out), "participant"]
    command += ["--preset", case.preset, "--skip-bids-validation", "--quiet"]
    if case.mask == "true":
        command += ["--mask", str(truth / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz")]
    subprocess.run(command, check=True)
    record = json.loads((out / "sub-01" / "figures" / "sub-01_desc-qsm_record.json").read_text())
    return Outcome(
        score=score_outputs(out, truth),
        seconds=sum(record["timings"].values()),
        megabytes=max(record["memory_mb"].values()),
        iterations=record["tgv"]["iterations"],
    )


def score_outputs(out: Path, truth: Path, label: str = "sub-01") -> Score:
    """Score the map that a run wrote for one participant."""

    def volume(folder: Path, name: str) -> np.ndarray:
        return np.asarray(nib.load(folder / label / "anat" / f"{label}_{name}.nii.gz").dataobj)

    return score(
        volume(out, "Chimap"),
        volume(truth, "Chimap"),
        volume(truth, "desc-brain_mask") > 0,
        volume(truth, "dseg"),
        DEEP_GREY_NUCLEI,
        volume(out, "desc-qsm_mask") > 0,
    )


def _row(case: Case, outcome: Outcome) -> str:
    s = outcome.score
    size = "x".join(f"{v:g}" for v in case.voxel_size)
    echoes = f"{case.echoes}{' bip.' if case.bipolar else ''}"
    return (
        f"{case.seed:4d} {case.direction:8} {size:12} {case.snr:4g} {echoes:8} {case.preset:9} {case.mask:5}"
        f" {s.nrmse:6.1f} {s.xsim:6.3f} {s.hfen:6.1f} {s.rim_nrmse:6.1f} {s.coverage:6.3f}"
        f" {s.deep_grey_slope:6.3f} {s.worst_bias:7.4f}"
        f" {outcome.seconds:6.1f} {outcome.megabytes:6.0f} {outcome.iterations:5d}"
    )


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    sizes = [
        tuple(s * (3 // len(s))) for s in ([float(v) for v in text.split("x")] for text in args.voxel_size)
    ]
    for seed, direction, size, snr, echoes, preset, mask in product(
        args.seeds, args.directions, sizes, args.snr, args.echoes, args.presets, args.masks
    ):
        yield Case(seed, direction, size, snr, abs(echoes), preset, mask, bipolar=echoes < 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for every combination."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=list(DIRECTIONS))
    parser.add_argument("--voxel-size", nargs="+", default=["1"], metavar="MM", help="2 or 0.7x0.7x1.4")
    parser.add_argument("--snr", type=float, nargs="+", default=[80.0])
    parser.add_argument("--echoes", type=int, nargs="+", default=[5], help="negative: bipolar readout")
    parser.add_argument("--presets", nargs="+", default=["gre"])
    parser.add_argument("--masks", nargs="+", choices=MASKS, default=["own"])
    parser.add_argument("--regions", action="store_true", help="also print the bias of every nucleus in ppm")
    args = parser.parse_args(arguments)
    print("NRMSE, HFEN and rim (outermost two voxels) in %; bias: largest of the deep grey nuclei in ppm;")
    print("s: all steps added up; MB: peak of the largest step; iter: of the whole mask's inversion")
    print(COLUMNS, flush=True)
    for case in _cases(args):
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_case(case, Path(folder))
        print(_row(case, outcome), flush=True)
        if args.regions:
            print(
                "".join(
                    f"     {name:28} {bias:+.4f}\n" for name, bias in outcome.score.deep_grey_bias.items()
                )
            )


if __name__ == "__main__":
    main()
