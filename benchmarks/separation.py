"""How close separated sources come to the truth, by every method, after the real command.

    python -m benchmarks.separation                       # three people, 2 mm, 3 T
    python -m benchmarks.separation --field-strength 7 --seeds 301 --table all.tsv

Each person is simulated and processed once; the command's maps (and the true chi) are then separated by every
method of the registry, with R2 and without, and with a relaxometric constant that is wrong by a fifth.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from qsm_ci.qsm_eval import xsim

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scans import LABEL, Scan, volume
from benchmarks.table import Table
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.separation import SEPARATION_METHODS
from qsmxt_app.qsm.separation.result import SeparatedSources
from qsmxt_app.qsm.separation.reversible import STATIC_DEPHASING
from qsmxt_app.qsm.separation.separate import separate_sources
from qsmxt_app.simulate import DEEP_GREY_NUCLEI
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.tissues import LABELS

ABOUT = ("seed", "T", "voxel", "chi", "R2", "Dr", "method")
SCORES = ("NRMSE+", "XSIM+", "r+", "NRMSE-", "XSIM-", "r-", "slope", "vein-", "white+", "white-", "s")
LEGEND = """NRMSE (not demeaned, in %), XSIM and correlation over the true brain; slope of chi+ in deep grey
nuclei; vein-: chi- in veins over their true chi+; white+, white-: mean in white matter over the true one;
s: seconds on one core"""
WHITE = [LABELS[f"{side}-Cerebral-White-Matter"] for side in ("Left", "Right")]


@dataclass(frozen=True)
class Condition:
    """What a separation is given."""

    true_chi: bool = False
    r2: bool = True
    constant: float = 1.0
    method: str = "joint"

    @property
    def columns(self) -> dict[str, str]:
        return {
            "chi": "true" if self.true_chi else "map",
            "R2": "scan" if self.r2 else "none",
            "Dr": f"x{self.constant:g}",
            "method": self.method,
        }


def conditions() -> Iterator[Condition]:
    """Every method at true and estimated chi, with R2 and without, and two methods at a wrong constant."""
    for true_chi in (True, False):
        for r2 in (True, False):
            for method in SEPARATION_METHODS:
                yield Condition(true_chi, r2, method=method)
    for constant in (0.8, 1.2):
        for method in ("joint", "closed_form"):
            yield Condition(constant=constant, method=method)


@dataclass(frozen=True)
class Head:
    """A person after the command has run."""

    scan: dict[str, Any]
    chi: Mapping[bool, NDArray]
    r2: NDArray
    truth: Mapping[str, NDArray]

    def separate(self, condition: Condition) -> SeparatedSources:
        """Separate the sources of true or estimated chi."""
        return separate_sources(
            self.chi[condition.true_chi],
            **self.scan,
            r2=self.r2 if condition.r2 else None,
            method=condition.method,
            constant=condition.constant * STATIC_DEPHASING,
        ).sources


def make_head(scan: Scan, folder: Path) -> Head:
    """Simulate a person, and run the command."""
    protocol = replace(scan.protocol, mixed_sources=True)
    write_dataset(folder / "raw", seed=scan.seed, protocol=protocol, truth=folder / "truth")
    command = [sys.executable, "-m", "qsmxt_app", str(folder / "raw"), str(folder / "out"), "participant"]
    command += ["--segmentation", "none", "--no-swi", "--separation", "closed_form"]
    subprocess.run([*command, "--skip-bids-validation", "--quiet"], check=True)
    raw, out, truth = folder / "raw", folder / "out", folder / "truth"
    total, noise = (_fieldmap(out, f"desc-{name}_fieldmap") for name in ("total", "noise"))
    times = protocol.echo_times
    magnitude = [volume(raw, f"echo-{echo + 1}_part-mag_MEGRE") for echo in range(len(times))]
    names = {"+": "desc-paramagnetic_Chimap", "-": "desc-diamagnetic_Chimap", "brain": "desc-brain_mask"}
    true = {key: volume(truth, name) for key, name in names.items()} | {"labels": volume(truth, "dseg")}
    return Head(
        {
            "mask": volume(out, "desc-qsm_mask") > 0,
            "r2star": volume(out, "R2starmap").astype(np.float32),
            "magnitude": np.stack(magnitude, axis=-1).astype(np.float32),
            "total_field": total,
            "field_noise": noise / np.float32(hz_per_ppm(scan.field_strength)),
            "echo_times": times,
            "voxel_size": scan.voxel_size,
            "b0_direction": (0.0, 0.0, 1.0),
            "field_strength": scan.field_strength,
            "threads": 1,
        },
        {True: volume(truth, "Chimap"), False: volume(out, "Chimap").astype(np.float32)},
        volume(out, "R2map").astype(np.float32),
        true,
    )


def _fieldmap(folder: Path, name: str) -> NDArray:
    image = nib.load(folder / LABEL / "fmap" / f"{LABEL}_{name}.nii.gz")
    return np.asarray(image.dataobj, dtype=np.float32)


def scores(found: SeparatedSources, truth: Mapping[str, NDArray]) -> dict[str, str]:
    """Compare both maps with the truth; voxels that a method leaves out count as zero."""
    brain, labels = truth["brain"] > 0, truth["labels"]
    made = {"+": found.paramagnetic, "-": found.diamagnetic}
    row: dict[str, str] = {}
    for sign, image in made.items():
        inside, true = image[brain].astype(float), truth[sign][brain].astype(float)
        row[f"NRMSE{sign}"] = f"{100 * np.linalg.norm(inside - true) / np.linalg.norm(true):.1f}"
        row[f"XSIM{sign}"] = f"{xsim(np.where(brain, image, 0), np.where(brain, truth[sign], 0), brain):.3f}"
        row[f"r{sign}"] = f"{np.corrcoef(inside, true)[0, 1]:.3f}"
    nuclei = [np.isin(labels, members) & brain for members in DEEP_GREY_NUCLEI.values()]
    means = [[image[nucleus].mean() for nucleus in nuclei] for image in (truth["+"], made["+"])]
    white, vein = np.isin(labels, WHITE) & brain, (labels == LABELS["Vein"]) & brain
    row["slope"] = f"{np.polyfit(means[0], means[1], 1)[0]:.3f}"
    row["vein-"] = f"{made['-'][vein].mean() / truth['+'][vein].mean():.3f}"
    for sign, image in made.items():
        row[f"white{sign}"] = f"{image[white].mean() / truth[sign][white].mean():.2f}"
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for every person and condition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303])
    parser.add_argument("--field-strength", type=float, nargs="+", default=[3.0])
    parser.add_argument("--voxel-size", type=float, default=2.0)
    parser.add_argument("--anatomy", default="adult")
    parser.add_argument("--table", type=Path, metavar="TSV", help="keep the rows here; those in it are kept")
    args = parser.parse_args(arguments)
    table = Table(args.table, ABOUT, (*ABOUT, *SCORES))
    print(LEGEND)
    table.show()
    for field in args.field_strength:
        for seed in args.seeds:
            scan = Scan(seed, voxel_size=(args.voxel_size,) * 3, anatomy=args.anatomy, field_strength=field)
            about = {"seed": f"{seed}", "T": f"{field:g}", "voxel": f"{args.voxel_size:g}"}
            missing = [one for one in conditions() if not table.has(about | one.columns)]
            if not missing:
                continue
            with tempfile.TemporaryDirectory() as folder:
                head = make_head(scan, Path(folder))
            for condition in missing:
                started = time.perf_counter()
                found = head.separate(condition)
                seconds = f"{time.perf_counter() - started:.1f}"
                table.add(about | condition.columns | scores(found, head.truth) | {"s": seconds})


if __name__ == "__main__":
    main()
