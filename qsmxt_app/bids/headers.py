"""What a NIfTI header says, and whether it can be used. No voxel is read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.errors import NoInput, UnusableData

_ANNEX_POINTER = b"/annex/objects/"
_SCANNER_CODE = 1


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """Geometry of an image.

    Attributes
    ----------
    path
        The file.
    shape
        (x, y, z), or (x, y, z, n) where n > 1.
    affine
        (4, 4), voxel indices to the image's world in mm: what derivatives carry.
    voxel_size
        (x, y, z) in mm.
    b0_direction
        Unit vector of the scanner's z axis in voxel axes.
    warnings
        What a user should know about this geometry.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]
    warnings: tuple[str, ...] = field(default=())


def read_header(path: Path) -> ImageHeader:
    """Read and check the header of a NIfTI image.

    Raises
    ------
    NoInput
        If the file is missing, not fetched (git-annex, DataLad) or cannot be read.
    UnusableData
        If it is no NIfTI image, or one with a shape or voxel size that no volume has.
    """
    check_content_present(path)
    image = open_image(path)
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in {3, 4} or min(shape) < 1:
        raise UnusableData(
            f"{path}: a volume of shape {'x'.join(map(str, shape))}.", "Three dimensions are needed."
        )
    if min(shape[:3]) < 2:
        raise UnusableData(f"{path}: a single slice ({'x'.join(map(str, shape))}).", "QSM needs a volume.")
    voxel_size = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    if not (np.all(np.isfinite(image.affine)) and np.all(voxel_size > 0)):
        raise UnusableData(
            f"{path}: the header gives no usable voxel size or orientation.", "Convert it again."
        )
    _check_uncompressed_length(path, image)
    scanner, warnings = _scanner_affine(image)
    size = (float(voxel_size[0]), float(voxel_size[1]), float(voxel_size[2]))
    return ImageHeader(path, shape, image.affine, size, b0_direction(scanner), warnings)


def open_image(path: Path) -> nib.nifti1.Nifti1Image:
    """Open a NIfTI image without reading its voxels.

    Raises
    ------
    NoInput, UnusableData
        As `read_header`.
    """
    again = "Convert or copy it again."
    try:
        image = nib.load(path)
    except FileNotFoundError as error:
        raise NoInput(f"{path}: no such file.") from error
    except PermissionError as error:
        raise NoInput(f"{path}: no permission to read it.", "Change its permissions.") from error
    except EOFError as error:
        raise UnusableData(f"{path}: truncated before the end of its header.", again) from error
    except OSError as error:
        if error.errno is not None:
            raise NoInput(
                f"{path}: cannot be read ({error.strerror}).", "Check the file and the disk."
            ) from error
        raise UnusableData(
            f"{path}: damaged, or not gzip although its name says so ({error}).", again
        ) from error
    except Exception as error:  # nibabel and zlib raise a dozen unrelated classes on damaged headers
        raise UnusableData(f"{path}: not a readable NIfTI image ({_first_line(error)}).", again) from error
    if not isinstance(image, nib.nifti1.Nifti1Image):
        raise UnusableData(f"{path}: {type(image).__name__}, not NIfTI.", again)
    return image


def check_content_present(path: Path) -> None:
    """Raise `NoInput` for a broken link, a git-annex pointer or an empty file."""
    fetch = f"Fetch it: datalad get '{path}' (or git annex get)."
    if path.is_symlink() and not path.exists():
        if "annex/objects" in str(path.readlink()):
            raise NoInput(f"{path}: content not fetched.", fetch)
        raise NoInput(
            f"{path}: a link to a file that does not exist.", "Restore the file or remove the link."
        )
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise NoInput(
            f"{path}: cannot be read ({error.strerror}).", "Check the file and its permissions."
        ) from error
    if not start:
        raise NoInput(f"{path}: empty file (0 bytes).", "Convert or copy it again.")
    if start.startswith(_ANNEX_POINTER):
        raise NoInput(f"{path}: content not fetched.", fetch)


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
    corners = np.array(np.meshgrid(*([0, n - 1] for n in one.shape[:3]), [1], indexing="ij")).reshape(4, -1)
    distance = np.abs((one.affine - other.affine) @ corners)[:3].max()
    return bool(distance < 0.1 * min(one.voxel_size))


def _scanner_affine(image: nib.nifti1.Nifti1Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Affine to scanner coordinates (code 1), whichever of sform and qform has it."""
    header = image.header
    for code, affine in (
        (int(header["sform_code"]), header.get_sform()),
        (int(header["qform_code"]), header.get_qform()),
    ):
        if code == _SCANNER_CODE:
            return affine, ()
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        return image.affine, ("the header has no orientation: B0 is taken along the third voxel axis",)
    # Code 2 ("aligned") is also what tools write that do not care; 3 and 4 are templates.
    if int(header["sform_code"]) <= 2:
        return image.affine, ()
    return image.affine, (
        "the header's orientation is that of a template (sform code 3 or 4): "
        "B0 is taken along its third axis, which is wrong if the image was rotated after the scan",
    )


def _check_uncompressed_length(path: Path, image: nib.nifti1.Nifti1Image) -> None:
    if path.suffix != ".nii":
        return
    needed = int(image.header.get_data_offset()) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    length = path.stat().st_size
    if length < needed:
        raise UnusableData(f"{path}: truncated ({length} of {needed} bytes).", "Convert or copy it again.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
