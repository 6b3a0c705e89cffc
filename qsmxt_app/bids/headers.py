"""What a NIfTI header says, and whether it can be used. No voxel is read here."""

from __future__ import annotations

import math
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.errors import NoInput, UnusableData

_ANNEX_POINTER = b"/annex/objects/"
_AGAIN = "Convert or copy it again."
_GZIP = b"\x1f\x8b"
_SCANNER_CODE = 1
VOXEL_MM = (0.008, 100.0)
"""Edges of voxels, from microscopy to the coarsest scouts; beyond, the header is in another unit."""
# The size that a header starts with, in either byte order, tells NIfTI-1 from NIfTI-2.
_HEADERS = {
    size.to_bytes(4, order): (header, size)
    for header, size in ((nib.nifti1.Nifti1Header, 348), (nib.nifti2.Nifti2Header, 540))
    for order in ("little", "big")
}


SEVERAL_VOLUMES = (
    "Echoes: give EchoTime as a list of as many numbers. Uncombined coils: CoilCombinationMethod none in the "
    "sidecar, or one file a coil named with coil-. Repetitions: a file each, named with run-."
)
"""What to do with files of several volumes that nothing tells apart."""


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """Geometry of an image.

    Attributes
    ----------
    path
        The file.
    shape
        (x, y, z), (x, y, z, n) or (x, y, z, n, m) without single volumes at their end.
    affine
        (4, 4), voxel indices to the image's world in mm: what derivatives carry.
    voxel_size
        (x, y, z) in mm.
    scanner_affine
        (4, 4), voxel indices to scanner coordinates in mm, where these differ from the world.
    warnings
        What a user should know about this geometry.
    oriented
        Whether the header says how the voxel axes lie in the scanner.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    voxel_size: tuple[float, float, float]
    scanner_affine: np.ndarray
    warnings: tuple[str, ...] = field(default=())
    oriented: bool = True


def read_header(path: Path) -> ImageHeader:
    """Read and check the header of a NIfTI image.

    Raises
    ------
    NoInput
        If the file is missing, not fetched (git-annex, DataLad) or cannot be read.
    UnusableData
        If it is not a NIfTI image, or one with a shape or voxel size that no volume has.
    """
    header = parse_header(path)
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    text = "x".join(map(str, shape))
    if len(shape) not in {3, 4, 5} or min(shape) < 1:
        raise UnusableData(f"{path}: its shape is {text}.", SEVERAL_VOLUMES)
    if min(shape[:3]) < 2:
        raise UnusableData(f"{path}: a single slice ({text}).", "QSM needs a volume.")
    affine = header.get_best_affine()
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).tolist()
    if not (np.all(np.isfinite(affine)) and min(x, y, z) > 0):
        raise UnusableData(
            f"{path}: the header gives no usable voxel size or orientation.", "Convert it again."
        )
    if not VOXEL_MM[0] <= min(x, y, z) <= max(x, y, z) <= VOXEL_MM[1]:
        unit = {1: "metres", 3: "micrometres"}.get(int(header["xyzt_units"]) & 7, "another unit")
        raise UnusableData(
            f"{path}: a voxel size of {x:.3g} x {y:.3g} x {z:.3g} mm is implausible ({unit}?).",
            "Write the header in mm.",
        )
    promised = promised_bytes(path, header)
    if path.suffix == ".nii" and path.stat().st_size < promised:
        raise UnusableData(f"{path}: truncated ({path.stat().st_size} of {promised} bytes).", _AGAIN)
    scanner, warnings = _scanner_affine(header)
    oriented = bool(header["sform_code"] or header["qform_code"])
    return ImageHeader(path, shape, affine, (x, y, z), scanner, warnings, oriented)


def parse_header(path: Path) -> nib.nifti1.Nifti1Header:
    """Read a NIfTI-1 or NIfTI-2 header, in one read of the file's start.

    Raises
    ------
    NoInput, UnusableData
        As `read_header`.
    """
    # nibabel.load() opens a file three times and checks what is checked here: 2 ms a file, which a dataset
    # of 400 participants multiplies by 8000.
    start = check_content_present(path)
    if path.suffix == ".gz" and start.startswith(_GZIP):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start)
        except zlib.error as error:
            raise UnusableData(f"{path}: damaged ({error}).", _AGAIN) from error
    elif path.suffix == ".gz":
        raise UnusableData(f"{path}: not gzip, although its name says so.", _AGAIN)
    header_class, size = _HEADERS.get(start[:4], (None, 4))
    if len(start) < size:
        raise UnusableData(f"{path}: truncated before the end of its header.", _AGAIN)
    if header_class is None:
        raise UnusableData(f"{path}: not a NIfTI image.", _AGAIN)
    try:
        header = header_class(start[:size], check=False)  # type: ignore[no-untyped-call]
        if header["magic"].item() not in {b"n+1", b"n+2"}:
            raise UnusableData(
                f"{path}: not a NIfTI image in one file (Analyze, or a pair of files).", _AGAIN
            )
        header.get_data_shape(), header.get_data_dtype(), header.get_best_affine()
    except (nib.spatialimages.HeaderDataError, ValueError, KeyError) as error:
        raise UnusableData(f"{path}: its NIfTI header is damaged ({_first_line(error)}).", _AGAIN) from error
    return header


def promised_bytes(path: Path, header: nib.nifti1.Nifti1Header) -> int:
    """Return where the voxels of an image end by its header, counted from the start of the file.

    Raises
    ------
    UnusableData
        If the voxels start nowhere: before the start of the file, or at NaN or infinity.
    """
    offset = float(header["vox_offset"])
    if not (np.isfinite(offset) and offset >= 0):
        raise UnusableData(f"{path}: its NIfTI header is damaged (data offset {offset:g}).", _AGAIN)
    voxels: int = math.prod(int(n) for n in header.get_data_shape())
    # a start within the header stands for its end, as some writers leave it at 0
    return max(int(offset), int(header.single_vox_offset)) + voxels * int(header.get_data_dtype().itemsize)


def check_content_present(path: Path) -> bytes:
    """Return a file's first 2 kB.

    Raises
    ------
    NoInput
        For a broken link, a git-annex pointer, an empty file; for pipes and devices, which could be read for
        ever, sockets and folders.
    """
    fetch = f"Fetch it: datalad get '{path}' (or git annex get)."
    if path.is_symlink() and not path.exists():
        if "annex/objects" in str(path.readlink()):
            raise NoInput(f"{path}: content not fetched.", fetch)
        raise NoInput(
            f"{path}: a link to a file that does not exist.", "Restore the file or remove the link."
        )
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NoInput(
                f"{path}: cannot be read (not a regular file).", "Replace it by a file, or remove it."
            )
        with path.open("rb") as stream:
            start = stream.read(2048)
    except OSError as error:
        raise NoInput(
            f"{path}: cannot be read ({error.strerror}).", "Check the file and its permissions."
        ) from error
    if not start:
        raise NoInput(f"{path}: empty file (0 bytes).", _AGAIN)
    if start.startswith(_ANNEX_POINTER):
        raise NoInput(f"{path}: content not fetched.", fetch)
    return start


def b0_direction(affine: np.ndarray) -> tuple[float, float, float]:
    """Direction of the main field in voxel axes.

    Parameters
    ----------
    affine
        (4, 4), voxel indices to scanner coordinates in mm, whose third axis is along B0.

    Returns
    -------
    tuple of float
        Unit vector along the scanner's z, in the directions of the three voxel axes.

    Examples
    --------
    >>> b0_direction(np.diag([2.0, 2.0, 3.0, 1.0]))
    (0.0, 0.0, 1.0)
    """
    axes = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    direction = np.linalg.solve(axes, [0.0, 0.0, 1.0])
    x, y, z = (direction / np.linalg.norm(direction)).tolist()
    return (x, y, z)


def same_grid(one: ImageHeader, other: ImageHeader) -> bool:
    """Whether two images have their voxels in the same places, to a tenth of a voxel."""
    if one.shape[:3] != other.shape[:3]:
        return False
    if np.array_equal(one.affine, other.affine):
        return True
    corners = np.array(np.meshgrid(*([0, n - 1] for n in one.shape[:3]), [1], indexing="ij")).reshape(4, -1)
    distance = np.abs((one.affine - other.affine) @ corners)[:3].max()
    return bool(distance < 0.1 * min(one.voxel_size))


def _scanner_affine(header: nib.nifti1.Nifti1Header) -> tuple[np.ndarray, tuple[str, ...]]:
    """Affine to scanner coordinates (code 1), whichever of sform and qform has it."""
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code != _SCANNER_CODE and qform_code == _SCANNER_CODE:
        try:
            return header.get_qform(), ()
        except (ValueError, nib.spatialimages.HeaderDataError):
            return header.get_best_affine(), ("the header's qform is damaged: B0 is taken from its sform",)
    if sform_code == qform_code == 0:
        return header.get_best_affine(), (
            "the header has no orientation (sform and qform code 0): B0 is taken along the third voxel axis, "
            "left and right are not known, and the maps have no orientation either",
        )
    # Code 2 ("aligned") is also what tools write that do not care; 3 and 4 are templates.
    if (sform_code or qform_code) <= 2:
        return header.get_best_affine(), ()
    return header.get_best_affine(), (
        "the header's orientation is that of a template (sform code 3 or 4): "
        "B0 is taken along its third axis, which is wrong if the image was rotated after the scan",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
