"""What every worker needs, done once by the process that they are forked from.

The first call of any compiled function makes numba read its registries, which takes as long as a small step.
A function without threads: those that this process started would not exist in its children.
"""

from __future__ import annotations

import contourpy  # noqa: F401
import matplotlib.backends.backend_svg  # noqa: F401 (for reports, which import it where they draw)
import numpy as np
import scipy.fft  # noqa: F401

import qsmxt_app.workflows.nodes  # noqa: F401
from qsmxt_app.qsm.nonlinear_phase import largest_difference

largest_difference(np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), bool))
