"""Time, memory and size of the pages of a large study: ``python -m benchmarks.group_pages``.

Writes what the participant level leaves of finished people (records, regional values, thumbnails, images
without content), and runs ``group --no-template`` on it: tables, page of the group, list of participants.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from qsmxt_app.report.pictures import PICTURE_KIND
from qsmxt_app.segment.atlases.qsmxt import known_regions
from qsmxt_app.segment.regional_values import COLUMNS

MAPS = {"chi": ("ppm", 0.03, 0.01), "r2star": ("1/s", 25.0, 4.0), "t2star": ("s", 0.04, 0.005)}
MEASURES = tuple(f"Measure {letter}" for letter in "ABCDEFGHIJ")
IMAGES = ("chi", "magnitude", "mask", "mask_brain", "r2star", "t2star", "chi_noise", "dseg")


def write_study(folder: Path, participants: int) -> None:
    """Write a raw dataset without images, and the outputs of all participants."""
    raw, out = folder / "raw", folder / "out"
    for root, kind in ((raw, "raw"), (out, "derivative")):
        root.mkdir(parents=True)
        description: dict[str, object] = {"Name": "large", "BIDSVersion": "1.10.0", "DatasetType": kind}
        description["GeneratedBy"] = [{"Name": "qsmxt"}]
        (root / "dataset_description.json").write_text(json.dumps(description))
    labels = [f"{number:04d}" for number in range(1, participants + 1)]
    rows = ["participant_id\tage\tsex\tgroup"]
    for number, label in enumerate(labels):
        rows.append(f"sub-{label}\t{20 + 7 * number % 60}\t{'FM'[number % 2]}\t{'ab'[number // 2 % 2]}")
    (raw / "participants.tsv").write_text("\n".join(rows) + "\n")
    for label in labels:
        (raw / f"sub-{label}" / "anat").mkdir(parents=True)
        write_participant(out, label)


def write_participant(out: Path, label: str) -> None:
    rng = np.random.default_rng(int(label))
    anat, figures = out / f"sub-{label}" / "anat", out / f"sub-{label}" / "figures"
    anat.mkdir(parents=True)
    figures.mkdir()
    files = {name: f"sub-{label}/anat/sub-{label}_desc-{name.replace('_', '')}.nii.gz" for name in IMAGES}
    files["stats"] = f"sub-{label}/anat/sub-{label}_desc-qsm_stats.tsv"
    for file in files.values():
        (out / file).touch()
    (out / files["stats"]).write_text(values(rng))
    quality = {name: measured(name, float(rng.normal(1, 0.1))) for name in MEASURES}
    record = {
        "version": 2, "stem": f"sub-{label}", "entities": {"sub": label}, "status": "done", "outputs": files,
        "inputs": {"echo_times": [0.005, 0.015, 0.025], "field_strength": 3.0}, "quality": quality,
        "warnings": ["Look. At this."] if int(label) % 7 == 0 else [],
    }  # fmt: skip
    (figures / f"sub-{label}_desc-qsm_record.json").write_text(json.dumps(record))
    stream = io.BytesIO()
    noise = rng.integers(0, 255, (110, 92), dtype=np.uint8)
    Image.fromarray(noise // 4).save(stream, PICTURE_KIND.upper(), quality=80)
    (figures / f"sub-{label}_desc-thumbnail.{PICTURE_KIND}").write_bytes(stream.getvalue())
    (out / f"sub-{label}.html").touch()


def measured(name: str, value: float) -> dict[str, object]:
    limits = [1.3, 1.6]
    return {"value": value, "units": "1", "limits": limits, "state": "good", "title": name, "description": ""}


def values(rng: np.random.Generator) -> str:
    """Return a table of regional values."""
    lines = ["\t".join(COLUMNS)]
    for region in known_regions():
        for name, (units, mean, spread) in MAPS.items():
            cells = dict.fromkeys(COLUMNS, f"{rng.normal(mean, spread):.7g}")
            side = region.hemisphere or "n/a"
            cells |= {
                "index": str(region.index), "name": region.name, "hemisphere": side, "map": name,
                "n_voxels": "934", "volume_mm3": "25218", "confidence": "good", "doubt": "n/a",
                "atlas": "qsmxt", "reference": "brain", "units": units,
            }  # fmt: skip
            lines.append("\t".join(cells[column] for column in COLUMNS))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="folder to write to, which is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="group-pages-") as made:
        folder = arguments.keep or Path(made)
        if not (folder / "raw").exists():
            write_study(folder, arguments.participants)
        measure(folder)


def measure(folder: Path) -> None:
    """Run the group level twice, and print what it took: the second run finds everything as it was."""
    out = folder / "out"
    command = [
        sys.executable,
        "-m",
        "qsmxt_app",
        str(folder / "raw"),
        str(out),
        "group",
        "--no-template",
        "-q",
    ]
    print(f"{'run':8} {'s':>7} {'cpu s':>7} {'peak MB':>8}")
    for name in ("first", "second"):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*command, "--skip-bids-validation"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{name:8} {time.perf_counter() - start:7.1f} {cpu:7.1f} {after.ru_maxrss / 1e3:8.0f}", flush=True
        )
    for file in ("group_stats.csv", "group_stats_wide.csv", "group.html", "index.html"):
        print(f"{file:22} {(out / file).stat().st_size / 1e6:6.1f} MB")


if __name__ == "__main__":
    main()
