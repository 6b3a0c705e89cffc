"""A made-up derivative dataset for the tests of the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE = (36, 44, 32)
VOXEL_MM = 5.0


def head() -> dict[str, np.ndarray]:
    """Maps of a made-up head in RAS order, with one bright source far to the right, front and top."""
    x, y, z = (np.linspace(-1, 1, size) for size in SHAPE)
    radius = np.sqrt(
        (x[:, None, None] / 0.8) ** 2 + (y[None, :, None] / 0.85) ** 2 + (z[None, None, :] / 0.85) ** 2
    )
    mask = radius < 1
    generator = np.random.default_rng(5)
    chi = np.where(mask, 0.02 * np.sin(9 * radius) + 0.01 * generator.standard_normal(SHAPE), 0)
    for side in (-1, 1):
        nucleus = (
            np.hypot(np.hypot(x[:, None, None] - side * 0.2, y[None, :, None] - 0.1), z[None, None, :]) < 0.12
        )
        chi[nucleus] += 0.08
    holes = np.hypot(np.hypot(x[:, None, None], y[None, :, None] - 0.6), z[None, None, :] + 0.2) < 0.2
    magnitude = np.where(mask, 900 - 300 * radius, 20) + 10 * generator.standard_normal(SHAPE)
    return {
        "mask": mask.astype(np.float32),
        "mask_reliable": (mask & ~holes).astype(np.float32),
        "magnitude": magnitude.clip(0),
        "chi": chi - chi[mask].mean() * mask,
        "chi_singlepass": np.where(holes, 0.3, chi),
        "total_field": np.where(mask, 60 * y[None, :, None] + 90 * np.exp(-10 * (1 - radius)), 0),
        "field_noise": np.where(mask, 0.05 * np.exp(4 * radius), 0),
        "field_trust": np.where(mask, 1 - 0.5 * holes, 0),
        "r2star": np.where(mask, 18 + 200 * np.abs(chi), 0),
        "chi_noise": np.where(mask, 0.002 * np.exp(2 * radius), 0),
        "swi": np.where(mask, 1 - 3 * np.abs(chi), 0.1),
        "mip": np.where(mask, 0.6, 0.1),
    }


def region_maps() -> dict[str, np.ndarray]:
    """Labels, T1w and what else is there after a segmentation, all on the grid of `head`."""
    maps = head()
    x, y, z = (np.linspace(-1, 1, size) for size in SHAPE)
    labels = np.zeros(SHAPE)
    for label, side in ((1, -1), (2, 1)):
        distance = np.hypot(x[:, None, None] - side * 0.2, y[None, :, None] - 0.1)
        labels[np.hypot(distance, z[None, None, :]) < 0.12] = label
    t1w = np.where(maps["mask"] > 0, 600 - maps["magnitude"] / 3, 10)
    offset = np.where(maps["mask"] > 0, 1.5 * x[:, None, None], 0)
    return {
        "dseg": labels, "dseg_t1w": labels, "t1w": t1w, "t1w_mask": maps["mask"],
        "magnitude_in_t1w": maps["magnitude"], "offset": offset,
    }  # fmt: skip


REGIONS = "index\tname\themisphere\n1\tnucleus\tL\n2\tnucleus\tR\n"


def rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


def ras_affine(shape: tuple[int, ...] = SHAPE, size: float = VOXEL_MM) -> np.ndarray:
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * size for n in shape]
    return affine


def record(stem: str, outputs: dict[str, str]) -> dict[str, Any]:
    iterations = list(range(0, 401, 10))
    return {
        "version": 2,
        "stem": stem,
        "entities": dict(part.split("-", 1) for part in stem.split("_")),
        "status": "done",
        "inputs": {
            "files": [f"sub-01/anat/{stem}_echo-{echo}_part-phase_MEGRE.nii.gz" for echo in (1, 2, 3)],
            "echo_times": [0.004, 0.012, 0.020],
            "field_strength": 3.0,
            "voxel_size": [5.0, 5.0, 5.0],
            "shape": list(SHAPE),
            "b0_direction": [0.0, 0.0, 1.0],
            "obliquity_degrees": 0.0,
            "bipolar": False, "readout_told": True,
            "phase_scaling": "Stored as 0..4095, mapped to one cycle",
            "phase_units": "arbitrary",
        },
        "settings": {
            "preset": "gre", "mask": "phase-quality", "mask_threshold": "otsu", "two_pass": True,
            "unwrapping": "laplacian", "tgv_alpha": [0.0015, 0.0005], "tgv_tolerance": 1e-3,
            "reference": "mean",
        },
        "mask": {"method": "phase-quality, otsu", "threshold": 0.62, "volume_ml": 1450.0,
                 "hole_fraction": 0.03},
        "field": {"noise_median_hz": 0.21, "trusted_fraction": 0.96},
        "reference": {"reference": "mean", "reference_value_ppm": -0.0021},
        "inversion": {
            "iterations": 400, "converged": True,
            "history": {
                "iteration": iterations,
                "chi_change": [float(np.exp(-i / 55)) for i in iterations],
                "equation_residual": [float(0.02 + np.exp(-i / 80)) for i in iterations],
            },
        },
        "outputs": outputs,
        "timings": {"prepare": 1.2, "masks": 4.0, "field": 6.5, "tgv": 14.2, "relaxation": 0.8},
        "memory_mb": {"prepare": 310.0, "masks": 420.0, "field": 900.0, "tgv": 1100.0},
        "warnings": [],
        "errors": [],
        "software": {"qsmxt": "0.1.0", "python": "3.12.1", "numpy": "2.3.5"},
        "command": "qsmxt bids out participant",
    }  # fmt: skip


class Outputs:
    """A derivative dataset to which acquisitions are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        stem: str = "sub-01_run-1",
        *,
        affine: np.ndarray | None = None,
        maps: dict[str, np.ndarray] | None = None,
        change: Callable[[dict[str, Any]], object] = lambda content: None,
    ) -> Path:
        subject = stem.split("_", maxsplit=1)[0]
        anat, figures = self.folder / subject / "anat", self.folder / subject / "figures"
        anat.mkdir(parents=True, exist_ok=True)
        figures.mkdir(parents=True, exist_ok=True)
        outputs = {}
        for key, volume in (head() if maps is None else maps).items():
            path = anat / f"{stem}_desc-{key.replace('_', '')}.nii.gz"
            nib.save(
                nib.Nifti1Image(volume.astype(np.float32), ras_affine() if affine is None else affine), path
            )
            outputs[key] = path.relative_to(self.folder).as_posix()
            if key.startswith("dseg"):
                path.with_name(path.name.replace(".nii.gz", ".tsv")).write_text(REGIONS, encoding="utf-8")
        content = record(stem, outputs)
        change(content)
        path = figures / f"{stem}_desc-qsm_record.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


GROUP_HEAD = (
    "participant_id,session_id,acquisition,run,atlas,index,region,hemisphere,map,mean,units,sex,age\n"
)


def group_table(folder: Path, values: dict[str, float], region: str = "putamen") -> Path:
    """Write the values of one region of all participants, and of sub-99, who has none."""
    rows = [
        f'{person},,,,qsmxt,1,"{region}",L,chi,{value},ppm,{"FM"[i % 2]},{20 + i}\n'
        for i, (person, value) in enumerate(values.items())
    ]
    rows.append(f"sub-99,,,,qsmxt,1,{region},L,chi,,ppm,F,\n")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "group_stats.csv"
    path.write_text(GROUP_HEAD + "".join(rows))
    return path


def group_record(out: Path, **content: object) -> None:
    """Write the record of a group level."""
    path = out / "figures" / "group_desc-qsm_record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 2, **content}))
