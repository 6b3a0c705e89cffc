import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

AFFINE = np.array([[-1.0, 0, 0, 4], [0, 1, 0, -4], [0, 0, 2, -8], [0, 0, 0, 1]])
ECHO_TIMES = (0.004, 0.008, 0.012)


def write_image(path: Path, voxels: np.ndarray, *, affine: np.ndarray = AFFINE, **metadata: Any) -> Path:
    """Write an image in scanner coordinates and, if there is any, its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.nifti1.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
    if metadata:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(metadata))
    return path


@dataclass
class RawDataset:
    """A tiny raw dataset, made to be broken."""

    root: Path
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20))

    def file(self, name: str) -> Path:
        entities = dict(pair.split("-", 1) for pair in name.split("_") if "-" in pair)
        folder = self.root / f"sub-{entities['sub']}"
        if "ses" in entities:
            folder /= f"ses-{entities['ses']}"
        return folder / "anat" / name

    def echo(
        self, stem: str, number: int | None, suffix: str = "MEGRE", shape=(8, 8, 8), **metadata: Any
    ) -> None:
        time = ECHO_TIMES[(number or 1) - 1]
        common = {"EchoTime": time, "MagneticFieldStrength": 3.0} | metadata
        name = f"{stem}_echo-{number}" if number else stem
        magnitude = self.rng.uniform(10, 100, shape).astype(np.float32)
        phase = self.rng.uniform(-np.pi, np.pi, shape).astype(np.float32)
        write_image(self.file(f"{name}_part-mag_{suffix}.nii.gz"), magnitude, **common)
        write_image(self.file(f"{name}_part-phase_{suffix}.nii.gz"), phase, **common, Units="rad")

    def megre(self, stem: str, **metadata: Any) -> None:
        for number in (1, 2, 3):
            self.echo(stem, number, **metadata)

    def t1w(self, stem: str) -> Path:
        return write_image(self.file(f"{stem}_T1w.nii.gz"), self.rng.random((8, 8, 8), np.float32))

    def metadata(self, name: str, **changes: Any) -> Path:
        """Change a sidecar; None removes a key."""
        path = self.file(name)
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        return path
