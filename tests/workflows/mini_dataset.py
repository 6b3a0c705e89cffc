"""A head of a few thousand voxels as raw BIDS data, run through the whole command in seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from qsmxt_app.qsm.dipole import forward_field

GAMMA_BAR = 42.577478518
VOXEL_SIZE = (4.0, 4.0, 4.0)
SHAPE = (40, 46, 34)
ECHO_TIMES = (0.005, 0.012, 0.020)
FIELD_STRENGTH = 3.0
OUTSIDE = 1.0
"""Susceptibility around the head in ppm; that of air would need voxels smaller than these."""


@dataclass(frozen=True)
class MiniHead:
    """Susceptibility (ppm), and where the head and its three nuclei are."""

    chi: np.ndarray
    head: np.ndarray
    nuclei: np.ndarray


def mini_head(seed: int = 0) -> MiniHead:
    """Make an ellipsoid with three nuclei of 0.05, 0.1 and 0.15 ppm and a texture."""
    rng = np.random.default_rng(seed)
    grid = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    radii = np.array([16.0, 19.0, 14.0])[:, None, None, None]
    head = ((grid / radii) ** 2).sum(axis=0) < 1
    chi = np.where(head, rng.normal(0, 0.005, SHAPE), OUTSIDE)
    nuclei = np.zeros(SHAPE, int)
    for label, (x, y, z) in enumerate([(-7, -3, 0), (7, -3, 0), (0, 9, 1)], start=1):
        inside = (grid[0] - x) ** 2 + (grid[1] - y) ** 2 + (grid[2] - z) ** 2 < 4.0**2
        nuclei[inside] = label
        chi[inside] += 0.05 * label
    return MiniHead(chi.astype(np.float32), head, nuclei)


def t1w_of(head: MiniHead, rng: np.random.Generator) -> np.ndarray:
    """White matter with folds of grey, darker nuclei and a dark ventricle off the middle."""
    folds = gaussian_filter(rng.normal(size=head.head.shape), 2.0)
    image = np.where(folds > 0.05, 70.0, 100.0) - 8.0 * head.nuclei
    image[19:23, 26:36, 18:24] = 30
    noise = rng.normal(0, 1, head.head.shape)
    return np.where(head.head, gaussian_filter(image, 0.4) + noise, 0).astype(np.float32)


def write_mini_dataset(
    root: Path, subjects: tuple[str, ...] = ("01",), *, runs: int = 0, echoes: int = 3
) -> Path:
    """Write raw BIDS data of a mini head for each subject; `runs` above 0 makes that many runs."""
    root.mkdir(parents=True)
    description = {"Name": "mini", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("A head of a few thousand voxels.\n")
    for index, subject in enumerate(subjects):
        for run in range(1, runs + 1) if runs else [None]:
            _write_scan(root, subject, run, seed=10 * index + (run or 0), echoes=echoes)
    return root


def _write_scan(root: Path, subject: str, run: int | None, *, seed: int, echoes: int) -> None:
    folder = root / f"sub-{subject}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    head, rng = mini_head(seed), np.random.default_rng(seed + 1000)
    field = forward_field(head.chi - OUTSIDE, voxel_size=VOXEL_SIZE, b0_direction=(0, 0, 1), workers=1)
    frequency = field * GAMMA_BAR * FIELD_STRENGTH
    frequency -= frequency[head.head].mean()
    affine = np.diag([*VOXEL_SIZE, 1.0])
    part_of = f"sub-{subject}_" + (f"run-{run}_" if run else "")
    for number, echo_time in enumerate(ECHO_TIMES[:echoes], start=1):
        signal = head.head * 1000 * np.exp(-20 * echo_time + 1j * (2 * np.pi * frequency * echo_time + 0.5))
        signal = signal + rng.normal(0, 8, SHAPE) + 1j * rng.normal(0, 8, SHAPE)
        suffix = "MEGRE" if echoes > 1 else "T2starw"
        echo = f"echo-{number}_" if echoes > 1 else ""
        for part, image in (("mag", np.abs(signal)), ("phase", np.angle(signal))):
            name = f"{part_of}{echo}part-{part}_{suffix}"
            nib.Nifti1Image(image.astype(np.float32), affine).to_filename(folder / f"{name}.nii.gz")
            # no regions are looked for in what is no head
            sidecar = {"EchoTime": echo_time, "MagneticFieldStrength": FIELD_STRENGTH}
            sidecar["BodyPartExamined"] = "PHANTOM"
            if part == "phase":
                sidecar["Units"] = "rad"
            if echoes > 1:
                sidecar["EchoNumber"] = number
            (folder / f"{name}.json").write_text(json.dumps(sidecar))
