"""Images that the user gives beside the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.headers import read_header, same_grid
from qsmxt_app.errors import UnusableData


def load_on_grid(path: str | Path, like: str | Path) -> NDArray[np.float32]:
    """Load an image that the user gave.

    Raises
    ------
    UnusableData
        Its voxels are not those of the other image.
    """
    if not same_grid(read_header(Path(path)), read_header(Path(like))):
        raise UnusableData(f"{path}: not on the grid of the images.", "Resample it to their magnitude.")
    return read_image(Path(path))
