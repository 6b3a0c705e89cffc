"""Memory and processor time of every step of the group level, each alone in a process of its own.

    python benchmarks/group_steps.py                      # two made-up people of 1 mm
    python benchmarks/group_steps.py --voxel-size 2 --people 12     # 12 in steps of all participants

Prints bytes per voxel of the template beyond what a worker needs before it loads an image, which is what
`workflows/study_level/study.py` declares, and seconds of the processor per million voxels on one core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.registration import linear, save_transform
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.tissues import TISSUES
from qsmxt_app.workflows.step_needs import WORKER_GB
from qsmxt_app.workflows.study_level.alignment import (
    AveragePerson,
    PrepareScan,
    RegisterDeformable,
    RegisterLinear,
)
from qsmxt_app.workflows.study_level.custom_values import MeasureCustomSegmentation
from qsmxt_app.workflows.study_level.maps import (
    AverageMaps,
    MajorityVoteLabels,
    WarpToTemplate,
    WriteTemplate,
)
from qsmxt_app.workflows.study_level.study import NEEDS
from qsmxt_app.workflows.study_level.template import AverageLinear, UpdateTemplate

HEAD_MM = (180.0, 220.0, 180.0)
ECHO_TIME = 0.02
SEED = 11


@dataclass(frozen=True)
class Measured:
    """What a step needed."""

    peak_mb: float
    seconds: float


class Steps:
    """Steps of a group of two people, who count several times, in the order in which they need files."""

    def __init__(self, folder: Path, voxel_size: float, people: int) -> None:
        self.folder, self.voxel_size, self.people = folder, voxel_size, people
        self.scans = [self._head(number) for number in (1, 2)]
        self.identity = save_transform(linear(np.eye(4)), folder / "identity.txt")

    def of(self, kind: str, name: str) -> str:
        """Return a file that a step left."""
        return str(self.folder / kind / name)

    def both(self, name: str) -> list[str]:
        """Return an image of both people."""
        return [str(scan / f"{name}.nii") for scan in self.scans]

    def all_images(self, name: str) -> list[str]:
        """Return an image of all participants."""
        return (self.both(name) * self.people)[: self.people]

    def inputs(self) -> dict[str, Callable[[], tuple[type, dict[str, Any]]]]:
        """Return each kind of step with its inputs."""
        kinds = {"magnitudes": "magnitude", "masks": "mask", "chis": "chi"}
        lists = {trait: self.all_images(name) for trait, name in kinds.items()}
        one, other = self.both("magnitude")
        linear_files = {"transforms": [str(self.identity)] * self.people, "resolution": self.voxel_size}
        deformed = [self.of("deform", "transform.h5"), self.of("deform", "inverse_transform.h5")]
        chain = {
            "transforms": [deformed[0], self.of("update", "transform.h5")],
            "inverse_transforms": [deformed[1], self.of("update", "inverse_transform.h5")],
        }
        out = {"output_dir": str(self.folder), "template": "study"}
        name = {"stem": "sub-01", "entities": {"sub": "01"}}
        magnitude = self.of("average", "magnitude.nii")
        maps = self.both("chi")
        regions = [{"index": t, "name": f"r{t}", "hemisphere": "", "kind": ""} for t in range(7, 12)]
        return {
            "prepare": lambda: (PrepareScan, {"magnitude": one, "mask": lists["masks"][0]}),
            "align": lambda: (RegisterLinear, {"fixed": one, "moving": other, "model": "rigid"}),
            "person": lambda: (
                AveragePerson,
                {
                    "images": self.both("magnitude"),
                    "masks": self.both("mask"),
                    "chis": self.both("chi"),
                    "transforms": [str(self.identity)],
                },
            ),
            "average": lambda: (AverageLinear, lists | linear_files),
            "affine": lambda: (
                RegisterLinear,
                {"fixed": magnitude, "moving": other, "initial": str(self.identity), "model": "affine"},
            ),
            "deform": lambda: (
                RegisterDeformable,
                {
                    "fixed": [magnitude, self.of("average", "chi.nii")],
                    "moving": [one, maps[0]],
                    "initial": str(self.identity),
                },
            ),
            "update": lambda: (
                UpdateTemplate,
                lists
                | {
                    "transforms": deformed[:1] * self.people,
                    "inverse_transforms": deformed[1:] * self.people,
                    "template": magnitude,
                },
            ),
            "warp": lambda: (
                WarpToTemplate,
                {"magnitude": one, "mask": lists["masks"][0], "chi": maps[0], "r2star": one}
                | {"dseg": self.both("dseg")[0], "like": magnitude, "reference": "bids::x", **chain, **out}
                | name,
            ),
            "maps": lambda: (
                AverageMaps,
                {"scans": [[scan] for scan in lists["chis"]], "kind": "chi", "is_template": True, **out},
            ),
            "labels": lambda: (
                MajorityVoteLabels,
                {"scans": self.all_images("dseg"), "atlas": "truth", **out},
            ),
            "write": lambda: (
                WriteTemplate,
                {"magnitude": magnitude, "mask": self.of("average", "mask.nii"), "sources": [], **out},
            ),
            "custom": lambda: (
                MeasureCustomSegmentation,
                {
                    "labels": self.both("dseg")[1],
                    "regions": regions,
                    "atlas": "drawn",
                    "transforms": deformed[1:],
                    "inverse_transforms": deformed[:1],
                    "mask": lists["masks"][0],
                    "chi": maps[0],
                    "r2star": one,
                    "t2star": one,
                    "erode": 0,
                    "output_dir": out["output_dir"],
                    **name,
                },
            ),
        }

    def run(self, kind: str) -> Measured:
        """Run one step in a process of its own."""
        step, inputs = self.inputs()[kind]()
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(step, inputs, folder))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{kind} failed")
        noted = json.loads((folder / "measured.json").read_text())
        return Measured(**noted)

    def _head(self, number: int) -> Path:
        """Write one person without noise: magnitude, chi, mask and labels."""
        folder = self.folder / f"person-{number}"
        folder.mkdir(exist_ok=True)
        shape = tuple(round(side / self.voxel_size) for side in HEAD_MM)
        low = -np.array(HEAD_MM) / 2 + (0.0, -20.0, 10.0)
        tissue, chi, brain = sample_anatomy(
            make_person(SEED, number), low, self.voxel_size * np.eye(3), (shape[0], shape[1], shape[2])
        )
        signal = np.array([t.proton_density * np.exp(-ECHO_TIME * t.r2star) for t in TISSUES], np.float32)
        affine = np.diag([*(self.voxel_size,) * 3, 1.0])
        affine[:3, 3] = low
        images = {
            "magnitude": 100 * signal[tissue],
            "chi": np.where(brain, chi, np.float32(0)),
            "mask": brain.astype(np.uint8),
            "dseg": np.where(brain, tissue, 0).astype(np.int16),
        }
        for name, array in images.items():
            nib.Nifti1Image(array, affine).to_filename(folder / f"{name}.nii")
        return folder


def _run(step: type, inputs: dict[str, Any], folder: Path) -> None:
    os.chdir(folder)
    start = time.process_time()
    step(**inputs).run()
    seconds = time.process_time() - start
    # what a parent used before it started this process counts in getrusage, but not here
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1000
    (folder / "measured.json").write_text(json.dumps({"peak_mb": peak, "seconds": seconds}))


def main() -> None:
    """Print one line for every step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", help="steps; all that are left out must have run in --folder")
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--people", type=int, default=2, help="in the steps of all participants")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        steps = Steps(folder, args.voxel_size, args.people)
        scan = int(np.prod([round(side / args.voxel_size) for side in HEAD_MM]))
        print(f"{'':10}{'voxels':>12}{'peak':>10}{'bytes a voxel':>15}{'declared':>10}{'s a million':>13}")
        for kind in args.kinds or steps.inputs():
            measured = steps.run(kind)
            template = folder / "average" / "magnitude.nii"
            voxels = max(scan, *([np.prod(nib.load(template).shape)] if template.exists() else [0]))
            each = (measured.peak_mb * 1e6 - WORKER_GB * 1e9) / voxels
            print(
                f"{kind:10}{voxels:12d}{measured.peak_mb:7.0f} MB{each:15.0f}{NEEDS[kind]:10.0f}"
                f"{measured.seconds * 1e6 / voxels:13.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
