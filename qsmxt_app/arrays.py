"""Types of the arrays that go through the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.int32]
