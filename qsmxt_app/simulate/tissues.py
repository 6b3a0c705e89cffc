"""What the digital head is made of: susceptibility and relaxation of every tissue at 3 T."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qsmxt_app.arrays import FloatArray

Kind = Literal["air", "outside", "fluid", "cortex", "white", "nucleus", "territory", "source"]


@dataclass(frozen=True)
class Tissue:
    """One tissue of the head.

    Attributes
    ----------
    name
        Name in the label table; left and right are separate tissues where both exist.
    kind
        How the tissue enters the head; ``territory`` marks a part of the template, not a tissue.
    chi, chi_between, chi_within
        Susceptibility relative to water in ppm: mean, standard deviation between people, and
        standard deviation of the texture inside one person's tissue.
    proton_density
        Relative to water.
    t1
        Longitudinal relaxation time in s.
    r2star
        Transverse relaxation rate in 1/s, without what the simulated field adds by dephasing.
    """

    name: str
    kind: Kind
    chi: float
    chi_between: float
    chi_within: float
    proton_density: float
    t1: float
    r2star: float


def _both(name: str, *values: float, kind: Kind = "nucleus") -> list[Tissue]:
    return [Tissue(f"{side}-{name}", kind, *values) for side in ("Left", "Right")]


# Susceptibility: Bilgic 2012, Lim 2013, Deistung 2013, Straub 2017. R2* and T1 at 3 T: Peran 2009,
# Stanisz 2005, Wansapura 1999. Bone, fat and air: Schenck 1996, Hopkins & Wehrli 1997, De Rochefort 2009.
TISSUES: tuple[Tissue, ...] = (
    Tissue("Background", "air", 9.4, 0.0, 0.0, 0.0, 1.0, 0.0),
    Tissue("CSF", "fluid", 0.0, 0.004, 0.001, 1.0, 4.0, 1.8),
    Tissue("Ventricles", "fluid", 0.0, 0.004, 0.001, 1.0, 4.0, 1.8),
    *_both("Cerebral-Cortex", 0.018, 0.004, 0.010, 0.83, 1.35, 16.0, kind="cortex"),
    *_both("Cerebral-White-Matter", -0.028, 0.004, 0.008, 0.70, 0.85, 20.5, kind="white"),
    *_both("Caudate", 0.050, 0.012, 0.010, 0.80, 1.25, 19.0),
    *_both("Putamen", 0.055, 0.016, 0.013, 0.80, 1.15, 21.0),
    *_both("Globus-Pallidus-External", 0.130, 0.020, 0.018, 0.74, 0.95, 33.0),
    *_both("Globus-Pallidus-Internal", 0.115, 0.020, 0.018, 0.74, 0.92, 32.0),
    *_both("Thalamus", 0.008, 0.006, 0.015, 0.77, 1.10, 18.5),
    *_both("Substantia-Nigra", 0.130, 0.022, 0.028, 0.75, 1.00, 33.0),
    *_both("Red-Nucleus", 0.100, 0.018, 0.015, 0.75, 1.00, 30.0),
    *_both("Subthalamic-Nucleus", 0.105, 0.018, 0.015, 0.75, 1.00, 29.0),
    *_both("Dentate-Nucleus", 0.095, 0.018, 0.018, 0.76, 1.05, 30.0),
    *_both("Hippocampus", 0.004, 0.005, 0.010, 0.84, 1.35, 15.5),
    *_both("Amygdala", -0.002, 0.005, 0.008, 0.83, 1.35, 15.5),
    *_both("Accumbens", 0.030, 0.008, 0.010, 0.81, 1.30, 18.0),
    *_both("Cerebellar-Cortex", 0.010, 0.004, 0.008, 0.83, 1.35, 16.5, kind="cortex"),
    *_both("Cerebellar-White-Matter", -0.018, 0.004, 0.008, 0.71, 0.90, 20.0, kind="white"),
    Tissue("Brainstem", "nucleus", -0.018, 0.005, 0.012, 0.73, 0.95, 19.5),
    Tissue("Vein", "source", 0.36, 0.03, 0.0, 0.85, 1.55, 42.0),
    Tissue("Calcification", "source", -2.4, 0.25, 0.0, 0.25, 0.8, 60.0),
    Tissue("Microbleed", "source", 1.4, 0.2, 0.0, 0.6, 1.0, 90.0),
    Tissue("Bone", "outside", -2.1, 0.1, 0.0, 0.04, 0.4, 600.0),
    Tissue("Marrow", "outside", -0.9, 0.1, 0.0, 0.35, 0.5, 90.0),
    Tissue("Fat", "outside", 0.6, 0.05, 0.0, 0.85, 0.37, 26.0),
    Tissue("Muscle", "outside", 0.02, 0.01, 0.0, 0.75, 1.25, 30.0),
    Tissue("Skin", "outside", 0.05, 0.02, 0.0, 0.55, 0.9, 45.0),
    Tissue("Eye", "outside", 0.0, 0.005, 0.0, 1.0, 3.5, 3.0),
    Tissue("Sinus-Air", "air", 9.4, 0.0, 0.0, 0.0, 1.0, 0.0),
    Tissue("Dura", "outside", 0.0, 0.0, 0.0, 0.35, 0.9, 100.0),
)

LABELS: dict[str, int] = {tissue.name: index for index, tissue in enumerate(TISSUES)}
CEREBELLUM = len(TISSUES)
"""Territory of the template in which cortex and white matter are the cerebellum's."""

IRON_RELAXIVITY = 110.0
"""R2* that texture of susceptibility brings along, 1/s per ppm at 3 T (Langkammer 2010)."""


def gradient_echo_amplitude(repetition_time: float, flip_angle: float) -> FloatArray:
    """Spoiled steady-state signal of every tissue before T2* decay (Ernst equation).

    Parameters
    ----------
    repetition_time
        TR in s.
    flip_angle
        In degrees.

    Returns
    -------
    ndarray (len(TISSUES),)
    """
    t1 = np.array([tissue.t1 for tissue in TISSUES])
    density = np.array([tissue.proton_density for tissue in TISSUES])
    alpha = np.deg2rad(flip_angle)
    decay = np.exp(-repetition_time / t1)
    amplitude = density * np.sin(alpha) * (1 - decay) / (1 - decay * np.cos(alpha))
    return np.asarray(amplitude, dtype=np.float32)


def inversion_recovery_amplitude(inversion_time: float, repetition_time: float) -> FloatArray:
    """Signal of every tissue in a magnetisation-prepared T1-weighted image.

    Parameters
    ----------
    inversion_time, repetition_time
        In s.

    Returns
    -------
    ndarray (len(TISSUES),)
    """
    t1 = np.array([tissue.t1 for tissue in TISSUES])
    density = np.array([tissue.proton_density for tissue in TISSUES])
    t2star_decay = np.array([np.exp(-0.003 * tissue.r2star) for tissue in TISSUES])
    recovery = 1 - 2 * np.exp(-inversion_time / t1) / (1 + np.exp(-repetition_time / t1))
    return np.asarray(density * np.abs(recovery) * t2star_decay, dtype=np.float32)


def label_names() -> dict[int, str]:
    """Name of every label value."""
    return dict(enumerate(tissue.name for tissue in TISSUES))
