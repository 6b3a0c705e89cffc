"""Time, memory and size of participants' pages at 1 mm: ``python -m benchmarks.report [--participants N]``.

Every participant has one scan with all maps that a page can show, its labels, and a T1w image with its own.
Voxels are noisy, as measured ones are, so that they compress no better.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from threadpoolctl import threadpool_limits

from qsmxt_app.report import build_participant_report
from qsmxt_app.simulate import Protocol, simulate_subject

LARGER = 2
"""The head is simulated at 2 mm and its voxels are divided."""


def fine(volume: np.ndarray) -> np.ndarray:
    for axis in range(3):
        volume = np.repeat(volume, LARGER, axis=axis)
    return volume


def maps(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return everything a page shows on one grid of 1 mm, and its affine."""
    subject = simulate_subject(seed, 0, Protocol(voxel_size=(2, 2, 2)))
    truth, generator = subject.truth, np.random.default_rng(seed)
    mask = fine(truth.brain_mask)

    def noisy(volume: np.ndarray, level: float, inside: np.ndarray | None = mask) -> np.ndarray:
        result = fine(volume).astype(np.float32)
        result += level * generator.standard_normal(result.shape, dtype=np.float32)
        return result if inside is None else np.where(inside, result, 0)

    magnitude = np.sqrt((subject.magnitude**2).sum(axis=-1))
    chi = noisy(truth.chi, 0.02)
    everywhere = noisy(magnitude, 0.02 * float(magnitude.max()), None)
    labels = fine(truth.labels).astype(np.float32)
    constant = np.ones(truth.brain_mask.shape, np.float32)
    made = {
        "mask": mask, "mask_reliable": mask & (np.abs(chi) < 0.1), "magnitude": everywhere, "chi": chi,
        "chi_singlepass": noisy(truth.chi, 0.03), "total_field": noisy(truth.total_field, 1.0),
        "local_field": noisy(truth.local_field, 1.0), "field_noise": np.abs(noisy(constant, 0.3)),
        "field_trust": np.clip(noisy(constant, 0.1), 0.01, 1) * mask, "r2star": noisy(truth.r2star, 3.0),
        "chi_noise": np.abs(noisy(0.01 * constant, 0.003)), "swi": noisy(constant, 0.1, None),
        "mip": noisy(constant, 0.1, None), "dseg": labels, "dseg_t1w": labels, "t1w": everywhere,
        "t1w_mask": mask, "magnitude_in_t1w": everywhere,
    }  # fmt: skip
    affine = subject.affine @ np.diag([1 / LARGER] * 3 + [1.0])
    affine[:3, 3] = (subject.affine @ [-0.25, -0.25, -0.25, 1])[:3]
    return made, affine


def write_participant(folder: Path, label: str, volumes: dict[str, np.ndarray], affine: np.ndarray) -> None:
    anat = folder / f"sub-{label}" / "anat"
    anat.mkdir(parents=True)
    outputs = {}
    for key, volume in volumes.items():
        path = anat / f"sub-{label}_desc-{key.replace('_', '')}.nii.gz"
        stored = volume.astype(np.uint8 if volume.dtype == bool else np.float32)
        nib.save(nib.Nifti1Image(stored, affine), path)
        outputs[key] = path.relative_to(folder).as_posix()
    write_record(folder, label, outputs)


def write_record(folder: Path, label: str, outputs: dict[str, str]) -> None:
    figures = folder / f"sub-{label}" / "figures"
    figures.mkdir(parents=True)
    record = {
        "stem": f"sub-{label}", "status": "done", "outputs": outputs, "segmentation": {"status": "done"},
        "inputs": {"echo_times": [0.005, 0.015, 0.025], "field_strength": 3.0},
    }  # fmt: skip
    (figures / f"sub-{label}_desc-qsm_record.json").write_text(json.dumps(record), encoding="utf-8")


def copy_participant(folder: Path, source: str, label: str) -> None:
    """Give another participant a record that names the files of the first."""
    record = json.loads((folder / f"sub-{source}/figures/sub-{source}_desc-qsm_record.json").read_text())
    write_record(folder, label, record["outputs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--volumes", default="small", choices=("none", "small", "full"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="report-benchmark-"))
    try:
        run(folder, arguments.participants, arguments.volumes)
    finally:
        shutil.rmtree(folder)


def make_first(folder: Path) -> None:
    made, affine = maps(seed=3)
    write_participant(folder, "01", made, affine)


def run(folder: Path, participants: int, volumes: str) -> None:
    # the memory of making the data is not that of the pages
    process = multiprocessing.get_context("spawn").Process(target=make_first, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the data could not be made")
    labels = ["01", *(f"{index:02d}" for index in range(2, participants + 1))]
    for label in labels[1:]:
        copy_participant(folder, "01", label)
    print(f"{'page':8} {'wall s':>7} {'cpu s':>7} {'MB':>6}")
    for label in labels:
        wall, cpu = time.perf_counter(), time.process_time()
        with threadpool_limits(1):
            page = build_participant_report(folder, label, volumes=volumes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"sub-{label:4} {wall:7.1f} {cpu:7.1f} {page.stat().st_size / 1e6:6.1f}", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
