"""One small picture a participant, for the list of all."""

from __future__ import annotations

import base64
from pathlib import Path

from qsmxt_app.bids.atomic import atomic_file
from qsmxt_app.report.pictures import CHI, PICTURE_KIND, colourise, compressed
from qsmxt_app.report.slices import size_mm
from qsmxt_app.report.volumes import Volumes

LARGEST_SIDE = 110


def write_thumbnail(output_dir: Path, label: str, volumes: Volumes) -> None:
    """Write the middle axial slice of a susceptibility map, if there is one, beside the records."""
    cuts = [cut for cut in volumes.slices.get("chi", {}) if cut.plane == "axial"]
    if volumes.grid is None or not cuts:
        return
    cut = cuts[len(cuts) // 2]
    painted = colourise(volumes.slices["chi"][cut], CHI)
    with atomic_file(_path(output_dir, label)) as stream:
        stream.write(compressed(painted, size_mm(volumes.grid, cut), LARGEST_SIDE))


def read_thumbnail(output_dir: Path, label: str) -> str:
    """Return the picture as a data URI, or empty text."""
    try:
        content = _path(output_dir, label).read_bytes()
    except OSError:
        return ""
    return f"data:image/{PICTURE_KIND};base64,{base64.b64encode(content).decode('ascii')}"


def _path(output_dir: Path, label: str) -> Path:
    return output_dir / f"sub-{label}" / "figures" / f"sub-{label}_desc-thumbnail.{PICTURE_KIND}"
