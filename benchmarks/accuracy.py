"""How close the command comes to the truth: simulate people, run ``qsmxt`` on them, score what it wrote.

    python benchmarks/accuracy.py        # 1 mm, 3 T, 5 echoes, SNR 80; three people, straight and tilted
    python benchmarks/accuracy.py --voxel-size 2 --seeds 1 --directions straight --presets gre fast consensus
    python benchmarks/accuracy.py --presets consensus --variant pdf="--background pdf" --snr 20 80 \\
        --echoes 1 3 5 9bipolar --voxel-size 0.7x0.7x1.4 2 --masks own oracle --coverage 0 30 --table all.tsv

Every row is one run of the real command, from raw phase. Scores are over the whole true brain (of the slab).
With ``--table`` the rows are also kept in a file, and those that it holds are not run again, so that a long
table can be built piece by piece.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.scans import DIRECTIONS, ECHOES, LABEL, Scan, volume
from benchmarks.scoring import Score, score
from benchmarks.steps import seconds_to_chi
from benchmarks.table import Table
from qsmxt_app.simulate import DEEP_GREY_NUCLEI
from qsmxt_app.simulate.person import Anatomy
from qsmxt_app.simulate.tissues import LABELS

MASKS = ("own", "oracle")
PRESETS = ("gre", "consensus", "fast", "bet", "epi", "body")
ABOUT = ("seed", "anatomy", "B0", "T", "voxel", "SNR", "echoes", "slices", "preset", "variant", "mask")
SCORES = ("NRMSE", "XSIM", "HFEN", "rim", "covers", "slope", "bias", "veins", "z")
COSTS = ("chi s", "all s", "MB", "iter", "code")
NOT_TISSUE = {"CSF", "Ventricles", "Vein", "Calcification", "Microbleed"}
LEGEND = """NRMSE, HFEN and rim (outermost two voxels) in %; slope and bias (the largest, then each) of deep
grey nuclei, in ppm; veins: mean of the map over that of the truth, below the outermost layer; z: standard
deviation, in white and grey matter, of the error over the expected error; chi s: seconds
of all steps to chi, all s: of all steps; MB: peak of the largest step; iter: of the whole mask's inversion;
code: fingerprint of the package"""


@dataclass(frozen=True)
class Case:
    """A simulated scan and how it is processed."""

    scan: Scan
    preset: str = "gre"
    mask: str = "own"
    variant: str = ""
    options: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        return {**self.scan.columns, "preset": self.preset, "variant": self.variant or "-", "mask": self.mask}


@dataclass(frozen=True)
class Outcome:
    """What a run gave: its score, its record, and the spread of its error over the expected error."""

    score: Score
    record: Mapping[str, Any]
    error_spread: float

    @property
    def columns(self) -> dict[str, str]:
        s, record = self.score, self.record
        values = {
            "NRMSE": f"{s.nrmse:.1f}",
            "XSIM": f"{s.xsim:.3f}",
            "HFEN": f"{s.hfen:.1f}",
            "rim": f"{s.rim_nrmse:.1f}",
            "covers": f"{s.coverage:.3f}",
            "slope": f"{s.deep_grey_slope:.3f}",
            "bias": f"{s.worst_bias:.4f}",
            "veins": f"{s.vein_recovery:.2f}",
            "z": f"{self.error_spread:.2f}",
            "chi s": f"{seconds_to_chi(record['timings']):.1f}",
            "all s": f"{sum(record['timings'].values()):.1f}",
            "MB": f"{max(record['memory_mb'].values()):.0f}",
            "iter": f"{record['inversion']['iterations']}",
        }
        biases = {name: s.deep_grey_bias.get(name) for name in DEEP_GREY_NUCLEI}
        return values | {name: "-" if bias is None else f"{bias:+.4f}" for name, bias in biases.items()}


def run_case(case: Case, folder: Path) -> Outcome:
    """Simulate, run the command, and score its map."""
    case.scan.write(folder / "raw", folder / "truth")
    return run_simulated(case, folder)


def run_simulated(case: Case, folder: Path) -> Outcome:
    """Run the command on a scan that was simulated into a folder before, and score its map."""
    raw, truth = folder / "raw", folder / "truth"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out = Path(place)
        command = [sys.executable, "-m", "qsmxt_app", str(raw), str(out), "participant"]
        command += ["--preset", case.preset, "--skip-bids-validation", "--quiet", "--segmentation", "none"]
        command += case.options
        # what cases have in common is computed, and timed, once
        command += ["--work-dir", str(folder / "work")]
        if case.mask == "oracle":
            command += ["--mask", str(truth / LABEL / "anat" / f"{LABEL}_desc-brain_mask.nii.gz")]
        subprocess.run(command, check=True)
        record = json.loads((out / LABEL / "figures" / f"{LABEL}_desc-qsm_record.json").read_text())
        return Outcome(score_outputs(out, truth), record, error_spread(out, truth))


def error_spread(out: Path, truth: Path) -> float:
    """Standard deviation of error over expected error in white and grey matter; NaN without that map."""
    if not (out / LABEL / "anat" / f"{LABEL}_desc-error_Chimap.nii.gz").exists():
        return float("nan")
    expected, labels = volume(out, "desc-error_Chimap"), volume(truth, "dseg")
    inside = (volume(truth, "desc-brain_mask") > 0) & (expected > 0)
    error = volume(out, "Chimap") - volume(truth, "Chimap")
    error -= error[inside].mean()
    tissue = inside & np.isin(labels, [LABELS[name] for name in LABELS if name not in NOT_TISSUE])
    return float(np.std(error[tissue] / expected[tissue]))


def score_outputs(out: Path, truth: Path) -> Score:
    """Score the map that a run wrote."""
    return score(
        volume(out, "Chimap"),
        volume(truth, "Chimap"),
        volume(truth, "desc-brain_mask") > 0,
        volume(truth, "dseg"),
        DEEP_GREY_NUCLEI,
        volume(out, "desc-qsm_mask") > 0,
        LABELS["Vein"],
    )


def fingerprint() -> str:
    """Short hash of the package's code and presets."""
    package = Path(__file__).parents[1] / "qsmxt_app"
    files = sorted([*package.rglob("*.py"), *package.rglob("*.toml")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:7]


def scans(args: argparse.Namespace) -> Iterator[Scan]:
    """All simulated scans that the arguments ask for."""
    for size, echoes, snr, slices, seed, anatomy, field, direction in product(
        args.voxel_size, args.echoes, args.snr, args.coverage, args.seeds, args.anatomy, args.field_strength,
        args.directions,
    ):  # fmt: skip
        yield Scan(seed, direction, size, snr, *echoes, slices, anatomy, field)


def cases(scan: Scan, args: argparse.Namespace) -> Iterator[Case]:
    """All ways in which a scan is processed."""
    for preset, mask, (variant, options) in product(args.presets, args.masks, args.variant):
        yield Case(scan, preset, mask, variant, options)


def _size(text: str) -> tuple[float, float, float]:
    edges = [float(edge) for edge in text.split("x")]
    x, y, z = edges * 3 if len(edges) == 1 else edges
    return x, y, z


def _echoes(text: str) -> tuple[int, bool]:
    return int(text.removesuffix("bipolar")), text.endswith("bipolar")


def _variant(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, options = text.partition("=")
    return name, tuple(shlex.split(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[101, 102, 103])
    add(
        "--anatomy",
        nargs="+",
        choices=get_args(Anatomy),
        default=["basic"],
        help="adult: veins at the surface",
    )
    add("--directions", nargs="+", choices=DIRECTIONS, default=["straight", "tilted"])
    add("--field-strength", type=float, nargs="+", choices=ECHOES, default=[3.0], metavar="T")
    add(
        "--voxel-size",
        type=_size,
        nargs="+",
        default=[(1.0, 1.0, 1.0)],
        metavar="MM",
        help="2 or 0.7x0.7x1.4",
    )
    add("--snr", type=float, nargs="+", default=[80.0])
    add("--echoes", type=_echoes, nargs="+", default=[(5, False)], metavar="N", help="5 or 9bipolar")
    add("--coverage", type=int, nargs="+", default=[0], metavar="SLICES", help="of a slab; 0: the whole head")
    add("--presets", nargs="+", default=["gre"], help=f"auto, {', '.join(PRESETS)}")
    add("--variant", type=_variant, nargs="+", default=[("", ())], metavar="NAME=OPTIONS",
        help="further options, under a name")  # fmt: skip
    add("--masks", nargs="+", choices=MASKS, default=["own"])
    add("--table", type=Path, metavar="TSV", help="keep the rows here; those in it are not run again")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for every combination."""
    args = _parser().parse_args(arguments)
    table = Table(args.table, ABOUT, (*ABOUT, *SCORES, *COSTS, *DEEP_GREY_NUCLEI))
    print(LEGEND)
    table.show()
    for row in table.rows:
        table.show(row)
    for scan in scans(args):
        missing = [case for case in cases(scan, args) if not table.has(case.columns)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            scan.write(Path(folder) / "raw", Path(folder) / "truth")
            for case in missing:
                outcome = run_simulated(case, Path(folder))
                table.add({**case.columns, **outcome.columns, "code": fingerprint()})


if __name__ == "__main__":
    main()
