"""Options"""
from __future__ import annotations
from dataclasses import dataclass
from collections.abc import Sequence
import numpy as np

@dataclass(frozen=True)
class TGVOptions:
    alpha: tuple[float, float] = (0.0015, 0.0005)
    max_iterations: int = 1000
    tolerance: float = 0.05
    equation_tolerance: float = 0.006
    check_every: int = 25
    relaxation: float = 1.9
    extend: bool = True
    rim_alpha: float = 1.0
    weight_floor: float = 1e-3
    weight_ceiling: float = 4.0
    noise_level: float | None = None
    model_error: float = 0.0

REF = 2 * np.pi * 0.020 * 42.577478518 * 3.0

def relative_weight(noise, mask, options):
    if noise is None:
        return None, None
    level = float(np.median(noise[mask]))
    with np.errstate(divide="ignore", invalid="ignore"):
        w = (level / noise) ** 2
    w = np.where(np.isfinite(w), w, 0)
    return np.clip(w, options.weight_floor, options.weight_ceiling).astype(np.float32), level

def scaled_alpha(options, noise_level, voxel_size):
    return options.alpha[0] / REF, options.alpha[1] / REF
