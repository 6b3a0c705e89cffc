"""A NIfTI image as it lies in its file, without the copies that writing it through a stream makes."""

from __future__ import annotations

from io import BytesIO

import nibabel as nib
import numpy as np
from isal import isal_zlib

from qsmxt_app.qsm.array_layout import echoes_apart

# ISA-L's default: ten times as fast as zlib's third level, and as small on float32 maps.
_COMPRESSION = 2


def nifti_parts(image: nib.nifti1.Nifti1Image) -> tuple[bytes, memoryview]:
    """Header and voxels of an image whose voxels are stored as they are, without scaling.

    Parameters
    ----------
    image
        With its array in memory.

    Returns
    -------
    header : bytes
        Up to where the voxels start.
    voxels : memoryview
        The first axis varies fastest.

    Examples
    --------
    >>> image = nib.nifti1.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))
    >>> header, voxels = nifti_parts(image)
    >>> header + voxels.tobytes() == image.to_bytes()
    True
    """
    header = image.header.copy()
    header["vox_offset"] = header.single_vox_offset
    header.set_slope_inter(1, 0)
    start = BytesIO()
    header.write_to(start)
    voxels = echoes_apart(np.asarray(image.dataobj))
    return start.getvalue().ljust(header.single_vox_offset, b"\0"), voxels.T.data


def gzipped(*parts: bytes | memoryview) -> tuple[bytes, ...]:
    """Compress consecutive parts of a file; the gzip header has no time and no name.

    Examples
    --------
    >>> import gzip
    >>> gzip.decompress(b"".join(gzipped(b"chi", b"map")))
    b'chimap'
    """
    deflate = isal_zlib.compressobj(_COMPRESSION, isal_zlib.DEFLATED, isal_zlib.MAX_WBITS | 16)
    return (*(deflate.compress(part) for part in parts), deflate.flush())
