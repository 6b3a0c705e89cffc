"""Digital people for the benchmarks of the group level: their maps, and their labels, which are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.registration import Image, Transform, load_transform
from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.person import make_person

Regions = dict[str, tuple[int, ...]]
MARGIN_MM = 12.0


def arguments(level: str, folder: Path, *options: str) -> list[str]:
    """Return the command of a level."""
    command = [sys.executable, "-m", "qsmxt_app", str(folder / "raw"), str(folder / "out"), level]
    return [*command, "--quiet", "--skip-bids-validation", *options]


def run(level: str, folder: Path, *options: str) -> None:
    """Run a level."""
    if subprocess.call(arguments(level, folder, *options)):
        raise SystemExit(f"qsmxt {level} failed: see {folder / 'out' / 'logs'}")


def prepare(folder: Path, people: int, voxel_size: float, seed: int) -> None:
    """Simulate people and map them, unless that was done before."""
    if not (folder / "raw").exists():
        protocol, truth = Protocol((voxel_size,) * 3), folder / "truth"
        write_dataset(folder / "raw", subjects=people, seed=seed, protocol=protocol, truth=truth)
    if not (folder / "out" / "index.html").exists():
        run("participant", folder, "--preset", "fast", "--segmentation", "none")


def people(folder: Path) -> list[str]:
    """Names of all people, as `sub-01`."""
    return sorted(path.name for path in (folder / "raw").glob("sub-*"))


def read_image(path: Path) -> Image:
    """Read an image."""
    image = nib.nifti1.load(path)
    return Image(np.asarray(image.dataobj), image.affine)


def true_labels(folder: Path, person: str) -> Image:
    """True labels on the grid of a person's scan."""
    return read_image(folder / "truth" / person / "anat" / f"{person}_dseg.nii.gz")


def true_chi(folder: Path, person: str) -> Image:
    """True susceptibility on the grid of a person's scan."""
    return read_image(folder / "truth" / person / "anat" / f"{person}_Chimap.nii.gz")


def own_chi(folder: Path, person: str) -> Image:
    """A person's own map."""
    return read_image(folder / "out" / person / "anat" / f"{person}_Chimap.nii.gz")


def found_transform(folder: Path, person: str, template: str = "study") -> Transform:
    """Return the transform from a person to the template, as it was written."""
    there, back = (
        folder / "out" / person / "anat" / f"{person}_from-{start}_to-{end}_mode-image_xfm.h5"
        for start, end in (("QSM", template), (template, "QSM"))
    )
    return load_transform(there, back)


def regions(folder: Path) -> Regions:
    """True labels by nucleus, both sides together, and the ventricles."""
    lines = next((folder / "truth").glob("sub-*/anat/*_dseg.tsv")).read_text().splitlines()[1:]
    names = {name: int(index) for index, name in (line.split("\t") for line in lines)}
    found = {
        nucleus: tuple(index for name, index in names.items() if _without_side(name) == nucleus)
        for nucleus in dict.fromkeys(_without_side(name) for name in DEEP_GREY_NUCLEI)
    }
    return {"Ventricles": (names["Ventricles"],), **found}


def fine_labels(folder: Path, person: str, seed: int) -> Image:
    """True labels of 1 mm around a person's nuclei: labels of a scan's voxels lose overlap when warped."""
    scan = true_labels(folder, person)
    names = sorted({index for numbers in regions(folder).values() for index in numbers})
    corners = np.argwhere(np.isin(scan.array, names)) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    low, high = corners.min(axis=0) - MARGIN_MM, corners.max(axis=0) + MARGIN_MM
    x, y, z = np.ceil(high - low).astype(int).tolist()
    number = int(person.removeprefix("sub-"))
    tissue, _, _ = sample_anatomy(make_person(seed, number), low, np.eye(3), (x, y, z))
    affine = np.eye(4)
    affine[:3, 3] = low
    return Image(tissue.astype(np.int32), affine)


def _without_side(name: str) -> str:
    return name.removeprefix("Left-").removeprefix("Right-")
