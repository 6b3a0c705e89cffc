"""How fast a folder of DICOM files is read, against reading the bytes of their headers alone.

    python -m benchmarks.dicom_scan [--files 20000] [--threads 2]

Writes the files (Siemens, Philips and GE headers of a few kB, and half of them with 60 kB of vendor data in
the header, as scanners do) into a temporary folder, reads all once so that the disk plays no part, then times
both ways in turns.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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


def header_sizes(folder: Path) -> list[tuple[str, int]]:
    """Each file with the size of its header in bytes."""
    sizes = []
    for path in sorted(folder.rglob("*.dcm")):
        content = path.read_bytes()
        sizes.append((str(path), content.rfind(b"\xe0\x7f\x10\x00") + 12))
    return sizes


def read_bytes(files: list[tuple[str, int]]) -> int:
    """Read the bytes of headers, and nothing else."""
    total = 0
    for path, size in files:
        descriptor = os.open(path, os.O_RDONLY)
        total += len(os.read(descriptor, size))
        os.close(descriptor)
    return total


def time_bytes(files: list[tuple[str, int]], threads: int) -> float:
    """Seconds to read all headers' bytes."""
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_bytes, [files[i::threads] for i in range(threads)]))
    return time.perf_counter() - start


def time_scan(folder: Path, threads: int) -> float:
    """Seconds to find and understand all files."""
    start = time.perf_counter()
    find_dicom(folder, n_threads=threads)
    return time.perf_counter() - start


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_files(folder, options.files)
        files = header_sizes(folder)
        find_dicom(folder / "000")  # compile
        rounds = [(time_bytes(files, options.threads), time_scan(folder, options.threads)) for _ in range(3)]
        one, two = (min(times) for times in zip(*rounds, strict=True))
        megabytes = sum(size for _, size in files) / 1e6
        print(f"{len(files)} files, {megabytes:.0f} MB of headers, {options.threads} threads")
        print(f"bytes of the headers alone  {one:6.2f} s  {len(files) / one:8.0f} files/s")
        print(f"scan: found and understood  {two:6.2f} s  {len(files) / two:8.0f} files/s")
        print(f"ratio {two / one:.2f}")


if __name__ == "__main__":
    main()
