"""What a participant level would leave of a few made-up heads whose deformations are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.segment.regional_values import QuantitativeMap, regional_values, values_table
from qsmxt_app.segment.regions import Region, regions_table

REGIONS = (Region(1, "ventricle"), Region(2, "putamen", "L"), Region(3, "putamen", "R"), Region(4, "nucleus"))
CHI = {1: -0.02, 2: 0.06, 3: 0.06, 4: 0.12}
VERSION = {"Name": "qsmxt", "Version": "0"}


@dataclass(frozen=True)
class Head:
    """A deformation of one anatomy: its seed, and how much iron there is compared to others.

    `lean` turns the whole head in the scanner, in radians about the axis that runs through the feet.
    """

    seed: int
    iron: float = 1.0
    lean: float = 0.0

    def to_anatomy(self, points: np.ndarray) -> np.ndarray:
        """Take points of the head (mm) to the anatomy that all share: turned, moved, and bent by some mm."""
        cosine, sine = np.cos(self.lean), np.sin(self.lean)
        points = points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        rng = np.random.default_rng([77, self.seed])
        turn = np.eye(3) + 0.06 * np.cross(np.eye(3), rng.normal(size=3))
        moved = (
            (points - 4 * rng.normal(size=3))
            @ np.linalg.qr(turn)[0].T
            * np.sign(np.diag(np.linalg.qr(turn)[1]))
        )
        for _ in range(3):
            wave, phase, push = rng.normal(size=3) / 22, rng.uniform(0, 6.3), rng.normal(size=3)
            moved = moved + 2.2 * push * np.sin(moved @ wave + phase)[..., None]
        return moved


def anatomy(points: np.ndarray) -> np.ndarray:
    """Label of each point: 0 outside, 9 tissue, 8 cortex, else as `REGIONS`."""

    def inside(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        return (((points - centre) / radii) ** 2).sum(axis=-1) < 1

    label = np.zeros(points.shape[:-1], int)
    label[inside((0, 0, 0), (52, 62, 48))] = 8
    label[inside((0, 0, 0), (43, 53, 39))] = 9
    label[inside((8, 3, 8), (6, 22, 8)) | inside((-8, 3, 8), (6, 22, 8))] = 1
    label[inside((-24, 6, -4), (8, 14, 10))] = 2
    label[inside((24, 6, -4), (8, 14, 10))] = 3
    label[inside((0, -22, -14), (12, 8, 8))] = 4
    return label


def write_scan(
    out: Path, entities: dict[str, str], head: Head, voxel_size: tuple[float, ...], *, noise: int = 0
) -> np.ndarray:
    """Write maps, labels, values and record of one scan; return its true labels."""
    stem = "_".join(f"{key}-{label}" for key, label in entities.items())
    folder = out / f"sub-{entities['sub']}"
    shape = tuple(
        int(np.ceil(extent / edge)) for extent, edge in zip((136, 156, 126), voxel_size, strict=True)
    )
    affine = np.diag([*voxel_size, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * edge for n, edge in zip(shape, voxel_size, strict=True)]
    rng = np.random.default_rng([head.seed, noise])
    # voxels are means over what they cover, as those of a scanner
    fine = [
        anatomy(head.to_anatomy((np.moveaxis(np.indices(shape), 0, -1) + shift) * voxel_size + affine[:3, 3]))
        for shift in rng.uniform(-0.5, 0.5, (6, 3))
    ]

    def mean(values: dict[int, float]) -> np.ndarray:
        table = np.array([values.get(label, 0.0) for label in range(10)])
        return np.mean([table[labels] for labels in fine], axis=0)

    centre = anatomy(head.to_anatomy(np.moveaxis(np.indices(shape), 0, -1) * voxel_size + affine[:3, 3]))
    mask = mean(dict.fromkeys(range(1, 10), 1.0)) > 0.5
    labels = np.where(centre < 8, centre, 0)
    magnitude = mean({1: 500.0, 2: 260.0, 3: 260.0, 4: 200.0, 8: 400.0, 9: 320.0})
    maps = {
        "Chimap": mean({label: value * head.iron for label, value in CHI.items()})
        + rng.normal(0, 0.002, shape),
        "R2starmap": mean({1: 2.0, 2: 35.0, 3: 35.0, 4: 60.0, 8: 15.0, 9: 20.0}),
    }
    base = folder / f"ses-{entities['ses']}" if "ses" in entities else folder
    files = {
        "chi": base / "anat" / f"{stem}_Chimap.nii.gz",
        "r2star": base / "anat" / f"{stem}_R2starmap.nii.gz",
        "mask": base / "anat" / f"{stem}_desc-qsm_mask.nii.gz",
        "dseg": base / "anat" / f"{stem}_seg-truth_dseg.nii.gz",
        "magnitude": base / "fmap" / f"{stem}_magnitude.nii.gz",
        "stats": base / "anat" / f"{stem}_desc-qsm_stats.tsv",
    }
    arrays = {
        "chi": maps["Chimap"] * mask,
        "r2star": maps["R2starmap"] * mask,
        "mask": mask.astype(np.uint8),
        "dseg": labels.astype(np.int16),
        "magnitude": np.abs(magnitude + rng.normal(0, 6, shape)),
    }
    for name, array in arrays.items():
        files[name].parent.mkdir(parents=True, exist_ok=True)
        stored = array if name in ("mask", "dseg") else array.astype(np.float32)
        image = nib.Nifti1Image(stored, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        image.to_filename(files[name])
        files[name].with_name(files[name].name.replace(".nii.gz", ".json")).write_text(
            '{"Reference": "mean", "SkullStripped": false, "Units": "ppm"}'
        )
    files["dseg"].with_name(files["dseg"].name.replace(".nii.gz", ".tsv")).write_text(regions_table(REGIONS))
    values = regional_values(
        labels,
        REGIONS,
        [QuantitativeMap("chi", arrays["chi"], mask, "ppm", "mean")],
        voxel_volume=float(np.prod(voxel_size)),
        atlas="truth",
    )
    files["stats"].write_text(values_table(values))
    outputs = {name: path.relative_to(out).as_posix() for name, path in files.items()}
    write_record(out, entities, {"status": "done", "outputs": outputs, "errors": []})
    return labels


def write_record(out: Path, entities: dict[str, str], content: dict[str, object]) -> None:
    stem = "_".join(f"{key}-{label}" for key, label in entities.items())
    path = out / f"sub-{entities['sub']}" / "figures" / f"{stem}_desc-qsm_record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 2, "stem": stem, "entities": entities, **content}))


def write_dataset(folder: Path, raw_people: dict[str, list[str]]) -> tuple[Path, Path]:
    """Write a raw dataset of empty participants with their sessions, and an output folder."""
    raw, out = folder / "raw", folder / "out"
    raw.mkdir(parents=True)
    out.mkdir()
    for root, kind, more in ((raw, "raw", {}), (out, "derivative", {"GeneratedBy": [VERSION]})):
        description = {"Name": "made up", "BIDSVersion": "1.10.0", "DatasetType": kind, **more}
        (root / "dataset_description.json").write_text(json.dumps(description))
    lines = ["participant_id\tage\tgroup"]
    for number, (label, sessions) in enumerate(raw_people.items()):
        lines.append(f"sub-{label}\t{30 + number}\t{'patient' if number % 2 else 'control'}")
        for session in sessions or [""]:
            (raw / f"sub-{label}" / session / "anat").mkdir(parents=True)
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    return raw, out
