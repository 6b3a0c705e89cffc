"""Time to index a dataset of 400 participants with 44 files each, from the disk and from a saved index.

    python -m benchmarks.index [--participants N] [--metadata]

Prints seconds of processor time and on the clock. `--metadata` also lets pybids read all sidecars of a tenth
of the participants, which the product does not do (`qsmxt_app/bids/sidecars.py`).
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.layout import files, open_layout

ECHOES = 10
SIDECAR = {f"Field{number}": f"text {number}" for number in range(50)} | {"MagneticFieldStrength": 3}


def write_dataset(root: Path, participants: int) -> int:
    """Write tiny images and sidecars as long as a scanner's; return the number of files."""
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.set_sform(np.eye(4), 1)
    content = gzip.compress(image.to_bytes())
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "benchmark", "BIDSVersion": "1.10.0"}')
    count = 0
    for number in range(participants):
        subject = f"sub-{number:04d}"
        anat = root / subject / "anat"
        anat.mkdir(parents=True)
        for echo in range(1, ECHOES + 1):
            for part in ("mag", "phase"):
                stem = f"{subject}_echo-{echo}_part-{part}_MEGRE"
                (anat / f"{stem}.nii.gz").write_bytes(content)
                (anat / f"{stem}.json").write_text(json.dumps(SIDECAR | {"EchoTime": echo * 0.004}))
        (anat / f"{subject}_T1w.nii.gz").write_bytes(content)
        (anat / f"{subject}_T1w.json").write_text(json.dumps(SIDECAR))
        (anat.parent / f"{subject}_scans.tsv").write_text("filename\n")
        (anat.parent / f"{subject}_notes.txt").write_text("")
        count += 4 * ECHOES + 4
    return count


def timed(what: str, action: Callable[[], Any]) -> Any:
    """Do something and print how long it took."""
    clock, processor = time.perf_counter(), time.process_time()
    result = action()
    print(
        f"{what:48} {time.process_time() - processor:7.2f} s  {time.perf_counter() - clock:7.2f} s",
        flush=True,
    )
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=400)
    parser.add_argument("--metadata", action="store_true")
    options = parser.parse_args()
    query = {"suffix": "MEGRE", "extension": [".nii", ".nii.gz"]}
    with tempfile.TemporaryDirectory() as folder:
        root, database = Path(folder, "raw"), Path(folder, "index")
        print(f"{write_dataset(root, options.participants)} files{'':30} processor      clock")
        timed("import pybids", lambda: __import__("bids.layout"))
        timed("one participant, index and query", lambda: files(open_layout(root, ["0007"]), query))
        timed("all participants, index and query", lambda: files(open_layout(root, ()), query))
        timed("all participants, index saved", lambda: open_layout(root, (), database_dir=database))
        found = timed(
            "all participants, saved index and query",
            lambda: files(open_layout(root, (), database_dir=database), query),
        )
        assert len(found) == 2 * ECHOES * options.participants
        timed("all headers and sidecars checked as well", lambda: find_acquisitions(open_dataset(root)))
        if options.metadata:
            _metadata(Path(folder, "tenth"), options.participants // 10)


def _metadata(root: Path, participants: int) -> None:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    write_dataset(root, participants)
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=True)
    layout = timed(
        f"{participants} participants, metadata indexed by pybids",
        lambda: BIDSLayout(root, validate=False, indexer=indexer),
    )
    paths = layout.get(return_type="filename", suffix="MEGRE", extension=".nii.gz")
    timed("and its metadata of each image", lambda: [layout.get_metadata(path) for path in paths])
    timed("the same by qsmxt, index included", lambda: find_acquisitions(open_dataset(root)))


if __name__ == "__main__":
    main()
