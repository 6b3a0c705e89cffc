"""Voxels of an acquisition: read, checked, and phase brought to radians. Runs inside the worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from types import EllipsisType

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib, isal_zlib

from qsmxt_app.arrays import ComplexArray, FloatArray
from qsmxt_app.bids.acquisition import Acquisition, Echo
from qsmxt_app.bids.headers import parse_header, promised_bytes
from qsmxt_app.errors import InputOutputFailed, UnusableData
from qsmxt_app.qsm.complex_parts import Channel, combine_channels
from qsmxt_app.qsm.morphology import fill_holes
from qsmxt_app.qsm.phase import ScaledPhase, repair_alternating_slices, scale_phase
from qsmxt_app.qsm.phase_checks import echo_warnings, repeated_echoes
from qsmxt_app.qsm.stored_phase import (
    echo_scale_warning,
    echo_scales,
    kind_warnings,
    scale_warnings,
    wrap_step,
)

_PHILIPS_LEVELS = 4095
MOST_COMPRESSED = 1032
"""Bytes that one byte of a gzip file can stand for, at most."""
SPARE_BYTES = 1 << 20
"""What a file may hold behind its voxels."""
SIGNAL_SHARE = 0.1
"""Share of the largest magnitude (percentile 99) above which a voxel is of the object."""


@dataclass(frozen=True, eq=False)
class AcquisitionImages:
    """All echoes of an acquisition.

    Attributes
    ----------
    magnitude
        (x, y, z, echo), float32, in the scanner's units.
    phase
        (x, y, z, echo), float32, rad in [-pi, pi).
    phase_scaling
        How the stored values became radians, in words.
    warnings
        What a person should check.
    """

    magnitude: FloatArray
    phase: FloatArray
    phase_scaling: str
    warnings: tuple[str, ...] = ()


def load_acquisition(
    acquisition: Acquisition, *, voxel_size: Sequence[float] | None = None, threads: int = 1
) -> AcquisitionImages:
    """Read and check all echoes.

    Parameters
    ----------
    acquisition
        What to read.
    voxel_size
        By which coils are combined, mm; without, that of the images.
    threads
        Files that are decompressed at a time.

    Raises
    ------
    UnusableData
        For a truncated or damaged file, NaN or infinity inside the object, a constant volume, or invalid
        phase.
    NoInput
        For a file that is missing or was not fetched.
    InputOutputFailed
        If the disk fails while reading.
    """
    if acquisition.coils:
        return _combine_coils(acquisition, voxel_size or acquisition.voxel_size, threads)
    return _load_echoes(acquisition, _read_file, threads)


def _load_echoes(
    acquisition: Acquisition, read_file: Callable[[Path], FloatArray], threads: int
) -> AcquisitionImages:
    """Read, check and scale the echoes of combined images, or of one coil."""
    shape = (*acquisition.shape, len(acquisition.echoes))
    # in the order of files, in which each echo is one piece of memory
    first, second = (np.empty(shape, np.float32, order="F") for _ in range(2))
    volumes: dict[Path, list[tuple[FloatArray, tuple[int, ...]]]] = {}
    for number, echo in enumerate(acquisition.echoes):
        volumes.setdefault(echo.magnitude, []).append((first[..., number], echo.index))
        volumes.setdefault(echo.phase, []).append((second[..., number], echo.index))

    def read(path: Path) -> None:
        voxels = read_file(path)
        for image, index in volumes[path]:
            # without single volumes that the header counts at the end
            place: tuple[EllipsisType | int, ...] = (..., *index)
            image[...] = voxels.reshape(voxels.shape[: 3 + len(index)])[place]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, volumes))
    cleared = _clear_background(first, second, acquisition)
    _check_contrast(first, [echo.magnitude for echo in acquisition.echoes])
    _check_contrast(second, [echo.phase for echo in acquisition.echoes])
    warnings: tuple[str, ...] = ()
    if acquisition.complex_parts:
        magnitude, phase = np.hypot(first, second), np.arctan2(second, first)
        rule = "real and imaginary parts"
    else:
        phase, rule, warnings = _radians(first, second, acquisition)
        # denoising and resampling leave some values below zero, where there is no signal
        magnitude = np.maximum(first, 0, out=first)
    phase, repaired = repair_alternating_slices(magnitude, phase)
    if repaired:
        rule += "; half a cycle removed from every second slice"
    return AcquisitionImages(magnitude, phase, rule, cleared + warnings)


def _read_file(path: Path) -> FloatArray:
    return read_image(path, finite=False)


def _clear_background(first: FloatArray, second: FloatArray, acquisition: Acquisition) -> tuple[str, ...]:
    """Set voxels that are NaN or infinite to 0, which is no signal, where they lie outside the object."""
    files = ([echo.magnitude for echo in acquisition.echoes], [echo.phase for echo in acquisition.echoes])
    broken = {
        path: ~np.isfinite(images[..., index])
        for images, paths in zip((first, second), files, strict=True)
        for index, path in enumerate(paths)
        # minimum and maximum are NaN or infinite exactly if some voxel is
        if not np.isfinite(images[..., index].min() + images[..., index].max())
    }
    if not broken:
        return ()
    cleared = np.logical_or.reduce(list(broken.values()))
    first[cleared] = second[cleared] = 0
    signal = np.hypot(first[..., 0], second[..., 0]) if acquisition.complex_parts else first[..., 0]
    whole = fill_holes(signal > SIGNAL_SHARE * np.percentile(signal, 99))
    for path, where in broken.items():
        if inside := int(np.count_nonzero(where & whole)):
            raise UnusableData(
                f"{path}: {inside} voxels are NaN or infinite, inside the object.",
                "Export it again, or set them to 0.",
            )
    return (
        f"{next(iter(broken)).name}: {np.count_nonzero(cleared)} voxels outside the object are NaN or "
        "infinite; they count as without signal",
    )


def _combine_coils(acquisition: Acquisition, voxel_size: Sequence[float], threads: int) -> AcquisitionImages:
    """Read one echo of one coil at a time and combine them in the complex domain.

    Files that several coils share are read once and stay in memory.
    """
    rules: dict[str, None] = {}
    warnings: dict[str, None] = {}
    read_file = cache(_read_file) if acquisition.coils_share_files else _read_file

    def channel(coil: tuple[Echo, ...]) -> Channel:
        def read(index: int) -> ComplexArray:
            alone = replace(acquisition, echoes=(coil[index],), coils=())
            images = _load_echoes(alone, read_file, threads)
            rules.setdefault(images.phase_scaling)
            warnings.update(dict.fromkeys(images.warnings))
            return np.asarray((images.magnitude * np.exp(1j * images.phase))[..., 0], dtype=np.complex64)

        return read

    channels = [channel(coil) for coil in acquisition.coils]
    try:
        echoes = combine_channels(channels, acquisition.echo_times, voxel_size=voxel_size)
    except ValueError as error:
        raise UnusableData(
            f"{acquisition.files[0]}: the coils cannot be combined ({error}).", "Export combined images."
        ) from error
    return AcquisitionImages(
        np.stack([echo.magnitude for echo in echoes], axis=-1, dtype=np.float32),
        np.stack([echo.phase for echo in echoes], axis=-1, dtype=np.float32),
        f"{'; '.join(rules)}; {len(channels)} coils combined in the complex domain",
        tuple(warnings),
    )


def _radians(
    magnitude: FloatArray, stored: FloatArray, acquisition: Acquisition
) -> tuple[FloatArray, str, tuple[str, ...]]:
    warnings = _suspicions(magnitude, stored, acquisition)
    try:
        scaled = scale_phase(stored, acquisition.phase_units, stored_range(acquisition, stored))
        factors = echo_scales(stored, magnitude, abs(scaled.scale))
        if factors is not None:
            warnings += (echo_scale_warning(factors),)
            scaled = scale_phase(stored / factors, acquisition.phase_units)
    except ValueError as error:
        raise UnusableData(
            f"{acquisition.echoes[0].phase}: {error}.", "Check the phase images and Units in their sidecars."
        ) from error
    return scaled.phase, scaled.rule, warnings + scale_doubts(magnitude, stored, scaled)


def scale_doubts(magnitude: FloatArray, stored: FloatArray, scaled: ScaledPhase) -> tuple[str, ...]:
    """Doubts about the scale of the phase, less those that its wraps dispel.

    Parameters
    ----------
    magnitude, stored : ndarray (x, y, z, echo)
        Magnitude, and phase as it is stored.
    scaled
        What was made of it.
    """
    cycle = wrap_step(stored, magnitude)
    contradicted = scale_warnings(cycle, abs(scaled.scale))
    guessed = scaled.rule.startswith("observed")
    return contradicted or (() if guessed and cycle is not None else scaled.warnings)


def read_image(path: Path, *, finite: bool = True) -> FloatArray:
    """Read an image to its end, with the header's slope and intercept applied.

    Parameters
    ----------
    path
        Its file.
    finite
        Whether voxels that are NaN or infinite are an error.

    Returns
    -------
    ndarray, shape (x, y, z) or (x, y, z, n), float32

    Raises
    ------
    UnusableData, NoInput, InputOutputFailed
        As `load_acquisition`, but for constant volumes, which a mask may well be.
    """
    header = parse_header(path)
    if header.get_data_dtype().kind not in "iuf":
        raise UnusableData(
            f"{path}: voxels of type {header.get_data_dtype()}.", "Write magnitude and phase as real numbers."
        )
    image_class = nib.nifti1.Nifti1Image if header.single_magic == b"n+1" else nib.nifti2.Nifti2Image
    try:
        content = _content(path, promised_bytes(path, header))
        voxels = np.asarray(image_class.from_bytes(content).dataobj, dtype=np.float32)
    except OSError as error:
        if error.errno is not None:
            raise InputOutputFailed(
                f"{path}: reading failed ({error.strerror}).", "Check the disk."
            ) from error
        raise _damaged(path) from error
    # the stubs of isal take this class for an instance
    except (EOFError, igzip_lib.IsalError, ValueError, nib.spatialimages.HeaderDataError) as error:  # type: ignore[misc]
        raise _damaged(path) from error
    # Minimum and maximum are NaN or infinite exactly if some voxel is.
    if finite and not (np.isfinite(voxels.min()) and np.isfinite(voxels.max())):
        count = int(np.count_nonzero(~np.isfinite(voxels)))
        raise UnusableData(
            f"{path}: {count} voxels are NaN or infinite.", "Export it again, or set them to 0."
        )
    return voxels


def _content(path: Path, promised: int) -> bytes:
    """Read what the header promises, and no more than a little beside.

    A compressed file is read to its very end: only there gzip tells by its checksum whether all voxels are as
    written.
    """
    most = promised + SPARE_BYTES
    with path.open("rb") as stream:
        before = os.fstat(stream.fileno())
        zipped = path.suffix == ".gz"
        if zipped and promised > MOST_COMPRESSED * before.st_size:
            raise EOFError("the end is missing")
        stored = stream.read(min(before.st_size, most) + 1 if zipped else min(before.st_size, promised))
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnusableData(
            f"{path}: changed while it was read.", "Run again when nothing writes it any more."
        )
    if not zipped:
        return stored
    decompress = isal_zlib.decompressobj(wbits=isal_zlib.MAX_WBITS | 16)
    content = decompress.decompress(stored, max_length=most + 1)
    if decompress.unused_data:  # a file of several members, as bgzip writes them
        with igzip.open(BytesIO(stored)) as members:
            content = members.read(most + 1)
    elif len(content) <= most and not decompress.eof:
        raise EOFError("the end is missing")
    if max(len(content), len(stored)) > most:
        raise UnusableData(
            f"{path}: holds more than the {promised} bytes that its header promises.",
            "Convert or copy it again.",
        )
    return content


def stored_range(acquisition: Acquisition, phase: FloatArray) -> tuple[float, float] | None:
    """Range of Philips' 12 bit phase, where the sidecar tells its rescaling and the values obey it."""
    slope = acquisition.metadata.get("PhilipsRescaleSlope")
    intercept = acquisition.metadata.get("PhilipsRescaleIntercept")
    if not (isinstance(slope, int | float) and isinstance(intercept, int | float) and slope > 0 > intercept):
        return None
    low, high = float(intercept), float(intercept + _PHILIPS_LEVELS * slope)
    inside = phase.min() >= low - slope and phase.max() <= high + slope
    # dcm2niix may have scaled to radians already, which also lies "inside" but uses none of the range.
    return (low, high) if inside and np.ptp(phase) > 0.5 * (high - low) else None


def _damaged(path: Path) -> UnusableData:
    return UnusableData(f"{path}: truncated or damaged.", "Convert or copy it again.")


def _check_contrast(images: FloatArray, paths: Sequence[Path]) -> None:
    for index, path in enumerate(paths):
        low, high = images[..., index].min(), images[..., index].max()
        if low == high:
            raise UnusableData(f"{path}: every voxel is {low:g}.", "Export it again, or remove this echo.")


def _suspicions(magnitude: FloatArray, phase: FloatArray, acquisition: Acquisition) -> tuple[str, ...]:
    if np.array_equal(magnitude, phase):
        raise UnusableData(
            f"{acquisition.echoes[0].phase}: the same voxels as the magnitude.", "Convert the phase again."
        )
    negative = f"{acquisition.echoes[0].magnitude.name}: negative magnitude; is it really one?"
    repeated = echo_warnings((), repeated_echoes(phase))
    return ((negative,) if magnitude.min() < 0 else ()) + kind_warnings(magnitude, phase) + repeated
