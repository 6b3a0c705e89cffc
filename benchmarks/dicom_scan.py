"""How fast a folder of DICOM files is found and understood.

    python -m benchmarks.dicom_scan [--files 20000] [--processes 2]

Writes the files (Siemens, Philips and GE headers of a few kB, and half of them with 60 kB of vendor data in
the header, as scanners do) into a temporary folder, reads all once so that the disk plays no part, then times
the scan. 20,000 files shall take less than 90 s on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom

from qsmxt_app.convert.dicom.find import find_dicom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "convert"))

from dicom_writer import DicomSeries, volume, write_series

SLICES = 100


def write_files(folder: Path, n_files: int) -> None:
    """Write a person after the other: 100 slices a series, three vendors in turn."""
    values = np.random.default_rng(1).uniform(0, 1000, (64, 64, SLICES))
    for index in range(n_files // SLICES):
        vendor = ("siemens", "philips", "ge")[index % 3]
        series = DicomSeries(
            vendor, (volume(vendor, "magnitude", values),), number=index + 1, patient_id=f"P{index // 10:03d}"
        )
        paths = write_series(folder / f"{index:03d}", series)
        if index % 2:
            for path in paths:
                dataset = pydicom.dcmread(path)
                block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
                block.add_new(0x10, "OB", b"\0" * 60000)
                dataset.save_as(path)


def main() -> None:
    """Print the time and the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_files(folder, options.files)
        for path in folder.rglob("*.dcm"):
            path.read_bytes()
        start = time.perf_counter()
        found = find_dicom(folder, n_procs=options.processes)
        seconds = time.perf_counter() - start
    rate = len(found.headers) / seconds
    print(f"{len(found.headers)} files, {options.processes} processes: {seconds:.1f} s, {rate:.0f} files/s")


if __name__ == "__main__":
    main()
