"""Running dcm2niix on a folder of its own, and reading what it made."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import dcm2niix
import nibabel as nib
import pydicom

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.reading import open_dicom

VERSION = str(dcm2niix.__version__)
TIMEOUT = 3600
"""s after which a conversion is given up: damaged files can send a reader round in circles."""

_GZIP = b"\x1f\x8b"
_NAME = "image"
# how the converter marks, in the file's name, what the numbers are
_MARKS: tuple[tuple[str, Component], ...] = (
    ("_fieldmaphz", "b0map"),
    ("_ph", "phase"),
    ("_real", "real"),
    ("_imaginary", "imaginary"),
)
_RESAMPLED = re.compile(r"_Eq(_\d+)?$")


class ConversionFailed(Exception):
    """An image could not be converted; the message says which file and why, in one line."""


@dataclass(frozen=True)
class Output:
    """One image that the converter wrote.

    Attributes
    ----------
    path
        Uncompressed NIfTI: stored integers, scaled by its header.
    sidecar
        What the converter wrote beside it.
    component
        What its numbers are, by the converter's marks; ``magnitude`` where it has none.
    """

    path: Path
    sidecar: dict[str, Any]
    component: Component

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(int(n) for n in nib.nifti1.load(self.path).shape)

    @property
    def echo_time(self) -> float | None:
        """Echo time in s."""
        value = self.sidecar.get("EchoTime")
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Conversion:
    """All images of one run of the converter, and the lines in which it warned."""

    outputs: tuple[Output, ...]
    warnings: tuple[str, ...]


def run_converter(files: Sequence[Path], folder: Path, *, one_image: bool) -> Conversion:
    """Convert files that belong together, and nothing else.

    Files in a form that the converter does not read (no preamble, deflated) are written in its own first.

    Parameters
    ----------
    files
        DICOM files, also gzipped ones.
    folder
        Does not exist yet; links to the files and the images are put into it.
    one_image
        Whether the files are the slices of one 3D image, so that no differences between them split it.

    Raises
    ------
    ConversionFailed
        If a file cannot be read, or the converter fails or writes no image.
    """
    try:
        return _run(files, folder / "as-it-is", _gather, one_image)
    except ConversionFailed as failure:
        try:
            return _run(files, folder / "rewritten", _rewrite, one_image)
        except ConversionFailed:
            raise failure from None


def _run(
    files: Sequence[Path], folder: Path, put: Callable[[Path, Path], None], one_image: bool
) -> Conversion:
    source, target = folder / "dicom", folder / "nifti"
    source.mkdir(parents=True)
    target.mkdir()
    names = {f"{index:06d}.dcm": path for index, path in enumerate(files)}
    for name, path in names.items():
        put(path, source / name)
    # -g i: no user's defaults; -x i: slices stay the third axis; -ba n: names are needed to redact them
    command = [dcm2niix.bin, "-g", "i", "-b", "y", "-ba", "n", "-z", "n", "-x", "i", "-p", "y", "-f", _NAME]
    command += ["-m", "y"] if one_image else []
    command += ["-o", str(target), str(source)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionFailed(f"{files[0]}: dcm2niix did not end within {TIMEOUT} s") from error
    said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    warnings = _warnings(said, source, names)
    outputs = tuple(_output(path) for path in sorted(target.glob(f"{_NAME}*.nii")))
    if done.returncode != 0 or not outputs:
        why = "; ".join(warnings) or f"it ended with code {done.returncode} and wrote no image"
        raise ConversionFailed(f"{files[0]}: dcm2niix could not convert it ({why})")
    return Conversion(outputs, warnings)


def is_resampled(output: Output) -> bool:
    """Whether an image was interpolated to even slices because some are missing."""
    return _RESAMPLED.search(output.path.stem) is not None


def _gather(path: Path, target: Path) -> None:
    """Link a file, or write it decompressed."""
    try:
        with path.open("rb") as stream:
            is_compressed = stream.read(2) == _GZIP
        if is_compressed:
            with gzip.open(path) as stream, target.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
        else:
            target.symlink_to(path.absolute())
    except (OSError, EOFError, zlib.error) as error:
        raise ConversionFailed(f"{path}: cannot be read ({error})") from error


def _rewrite(path: Path, target: Path) -> None:
    """Write a file in the plainest form of DICOM: with preamble, little endian, not compressed."""
    try:
        with catch_warnings():
            simplefilter("ignore")
            dataset = pydicom.dcmread(open_dicom(path), force=True)
            pixels = dataset.pixel_array
            dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
            dataset["PixelData"].VR = "OW"
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
        raise ConversionFailed(f"{path}: cannot be read ({error})") from error


def _warnings(said: str, source: Path, names: dict[str, Path]) -> tuple[str, ...]:
    """Lines that say what is wrong, with the files' own names."""
    lines = [" ".join(line.split()) for line in said.splitlines()]
    found = [
        line for line in lines if re.match(r"(warning|error)\b", line, re.IGNORECASE) or "FileSize <" in line
    ]
    link = re.compile(re.escape(f"{source}/") + r"(\d{6}\.dcm)")
    return tuple(dict.fromkeys(link.sub(lambda m: str(names.get(m[1], m[0])), line) for line in found))


def _output(path: Path) -> Output:
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        sidecar = {}
    ending = path.stem.removeprefix(_NAME)
    found = [component for mark, component in _MARKS if mark in ending]
    return Output(path, sidecar if isinstance(sidecar, dict) else {}, found[0] if found else "magnitude")
