"""DICOM series described: who, when, which scanner, and volumes encoded as the vendor does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import generate_uid

Vendor = Literal["siemens", "siemens-xa", "philips", "philips-enhanced", "ge", "canon", "uih"]
Component = Literal["magnitude", "phase", "real", "imaginary", "phasediff", "b0map"]

VENDORS: tuple[Vendor, ...] = ("siemens", "siemens-xa", "philips", "philips-enhanced", "ge", "canon", "uih")
CLASSIC: tuple[Vendor, ...] = ("siemens", "philips", "ge", "canon", "uih")

SequenceKind = Literal["gre", "mprage", "localiser", "field-map", "spin-echo"]

SIEMENS_PHASE = (2.0, -4096.0)
PHILIPS_PHASE = (1.53455433455433, -3142.0)
PHILIPS_MAGNITUDE = (1.29157509157509, 0.0)
PHILIPS_FIELD_MAP = (0.25, -512.0)
PHILIPS_FLOAT_SLOPE = {"magnitude": 0.00023798899, "phase": 651.73950195, "real": 0.002, "imaginary": 0.002}


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D image: the integers that the files store, and how to read them.

    Attributes
    ----------
    stored
        (x, y, z) int: x along the columns of a slice, y along its rows, z the slice.
    echo_time
        s.
    slope, intercept
        Value = slope * stored + intercept; None: the file has no rescaling.
    coil
        Name of the channel of an uncombined image.
    repetition
        From 1, where the same image is acquired again.
    """

    stored: NDArray
    component: Component = "magnitude"
    echo_time: float = 0.005
    echo_number: int = 1
    slope: float | None = None
    intercept: float | None = None
    coil: str | None = None
    repetition: int = 1

    @property
    def values(self) -> NDArray[np.float64]:
        """Stored integers with slope and intercept applied."""
        return np.asarray(self.stored, dtype=np.float64) * (self.slope or 1.0) + (self.intercept or 0.0)


def stable_uid(*parts: str) -> str:
    return str(generate_uid(entropy_srcs=list(parts)))


def straight_affine(voxel_size: Sequence[float] = (2, 2, 3), origin: Sequence[float] = (0, 0, 0)) -> NDArray:
    """Affine of axial slices, rows from anterior to posterior as scanners store them."""
    affine = np.diag([-voxel_size[0], -voxel_size[1], voxel_size[2], 1.0])
    affine[:3, 3] = origin
    return affine


def oblique_affine(
    voxel_size: Sequence[float] = (2, 2.5, 3), degrees: Sequence[float] = (12, -8, 5)
) -> NDArray:
    """Affine of slices turned about all three axes."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[[one, one, two, two], [one, two, one, two]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-voxel_size[0], -voxel_size[1], voxel_size[2]])
    affine[:3, 3] = (21.5, 30.25, -11.0)
    return affine


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """One series. `affine` (mm, RAS) is that of the voxels; `extra` sets tags, or removes them (None).

    The same `study`, `series` text gives the same UIDs, so series of one study share `study`.
    """

    vendor: Vendor
    volumes: tuple[Volume, ...]
    number: int = 1
    description: str = "gre_qsm"
    protocol: str | None = None
    sequence: SequenceKind = "gre"
    acquisition_type: Literal["2D", "3D"] = "3D"
    patient_id: str = "P001"
    patient_name: str = "Doe^Jane"
    birth_date: str = "19800501"
    sex: str = "F"
    date: str = "20240102"
    time: str = "101500.000000"
    study: str | None = None
    series: str | None = None
    field_strength: float = 3.0
    affine: NDArray = field(default_factory=oblique_affine)
    image_type: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def study_uid(self) -> str:
        """UID of the study: the same for the same person and date unless `study` says otherwise."""
        return stable_uid("study", self.study or f"{self.patient_id}{self.date}")

    @property
    def series_uid(self) -> str:
        """UID of the series: the same for the same study, number and description unless `series` is given."""
        return stable_uid("series", self.study_uid, self.series or f"{self.number}{self.description}")


def echoes(
    shape: tuple[int, int, int] = (12, 10, 6), echo_times: Sequence[float] = (0.004, 0.008), seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitude and wrapped phase (rad) of a smooth field, all voxels different: (x, y, z, echo)."""
    rng = np.random.default_rng(seed)
    x, y, z = (g / n for g, n in zip(np.indices(shape), shape, strict=True))
    frequency = 60 * (x - 0.4) + 30 * np.sin(3 * y) - 40 * z * x
    body = 400 + 900 * np.exp(-8 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)) + 300 * z + rng.uniform(0, 40, shape)
    times = np.asarray(echo_times)
    magnitude = body[..., None] * np.exp(-times * 25)
    angle = 2 * np.pi * frequency[..., None] * times + 0.7 + rng.normal(0, 0.05, (*shape, times.size))
    return magnitude, np.angle(np.exp(1j * angle))


def encode(
    vendor: Vendor, component: Component, values: NDArray
) -> tuple[NDArray[np.int64], float | None, float | None]:
    """Integers, slope and intercept with which the vendor stores magnitude, phase (rad), real, imaginary."""
    family = vendor.split("-")[0]
    phase = component in ("phase", "phasediff")
    if family == "philips":
        slope, intercept = PHILIPS_MAGNITUDE
        if component in ("real", "imaginary"):
            slope, intercept = 1.0, -2048.0
        elif component == "b0map":
            slope, intercept = PHILIPS_FIELD_MAP
        elif phase:
            (slope, intercept), values = PHILIPS_PHASE, values * 1000
        return np.clip(np.rint((values - intercept) / slope), 0, 4095).astype(int), slope, intercept
    if not phase:
        return np.rint(values).astype(int), None, None
    if family == "ge":
        return np.rint(values * 1000).astype(int), None, None
    levels = np.clip(np.floor((values + np.pi) / (2 * np.pi) * 4096), 0, 4095).astype(int)
    return (levels, *SIEMENS_PHASE) if family == "siemens" else (levels - 2048, None, None)


def volume(
    vendor: Vendor,
    component: Component,
    values: NDArray,
    *,
    echo_time: float = 0.005,
    echo_number: int = 1,
    coil: str | None = None,
) -> Volume:
    """Volume with values encoded as the vendor does."""
    stored, slope, intercept = encode(vendor, component, values)
    return Volume(stored, component, echo_time, echo_number, slope, intercept, coil)


Split = Literal["none", "parts", "echoes", "both"]


def gradient_echo(
    vendor: Vendor,
    magnitude: NDArray,
    phase: NDArray,
    echo_times: Sequence[float],
    *,
    split: Split | None = None,
    components: tuple[Component, ...] = ("magnitude", "phase"),
    alternating_sign: bool | None = None,
    coils: Sequence[str] | None = None,
    number: int = 5,
    **common: Any,
) -> list[DicomSeries]:
    """A multi-echo scan as the vendor exports it.

    Parameters
    ----------
    magnitude, phase
        (x, y, z, echo), or (x, y, z, echo, coil) with `coils`; phase in rad.
    split
        What becomes a series of its own: ``parts`` (magnitude, phase), ``echoes``, ``both`` or ``none``.
        Default: ``parts`` for Siemens, Canon and UIH, ``none`` for Philips and GE.
    components
        For instance ``("magnitude", "real", "imaginary")`` for GE.
    alternating_sign
        Change the sign of the signal in every second slice; default: as GE does, others do not. GE's phase
        has the opposite sign, too: it falls where the field is higher.
    common
        Fields of `DicomSeries`, for all series.
    """
    family = vendor.split("-")[0]
    split = split or ("none" if family in ("philips", "ge") else "parts")
    alternate = family == "ge" if alternating_sign is None else alternating_sign
    signal = magnitude * np.exp(-1j * phase if family == "ge" else 1j * phase)
    if alternate:
        signal[:, :, 1::2] *= -1
    values = {
        "magnitude": magnitude,
        "phase": np.angle(signal),
        "real": signal.real,
        "imaginary": signal.imag,
    }
    groups: dict[tuple, list[Volume]] = {}
    for index, echo_time in enumerate(echo_times):
        for component in components:
            for channel, coil in enumerate(coils or [None]):
                image = values[component][:, :, :, index]
                image = image if coils is None else image[..., channel]
                key = (
                    component if split in ("parts", "both") else None,
                    index if split in ("echoes", "both") else None,
                )
                groups.setdefault(key, []).append(
                    volume(vendor, component, image, echo_time=echo_time, echo_number=index + 1, coil=coil)
                )
    return [
        DicomSeries(vendor, tuple(volumes), number=number + i, **{"series": f"{number + i}", **common})
        for i, (_, volumes) in enumerate(sorted(groups.items(), key=str))
    ]


def phase_difference(
    vendor: Vendor, magnitude: NDArray, phase: NDArray, echo_times: Sequence[float], **common: Any
) -> list[DicomSeries]:
    """A field map: one series with two magnitudes, one with a single phase difference (Siemens, UIH)."""
    common = {"sequence": "field-map", "description": "gre_field_mapping", "acquisition_type": "2D", **common}
    number = common.pop("number", 8)
    both = tuple(
        volume(vendor, "magnitude", magnitude[..., i], echo_time=echo_times[i], echo_number=i + 1)
        for i in range(2)
    )
    difference = np.angle(np.exp(1j * (phase[..., 1] - phase[..., 0])))
    one = volume(vendor, "phasediff", difference, echo_time=echo_times[1], echo_number=2)
    return [
        DicomSeries(vendor, both, number=number, series=f"{number}", **common),
        DicomSeries(vendor, (one,), number=number + 1, series=f"{number + 1}", **common),
    ]


def field_map_in_hz(vendor: Vendor, magnitude: NDArray, field: NDArray, **common: Any) -> DicomSeries:
    """A map in Hz and its magnitude in one series (Philips)."""
    volumes = (
        volume(vendor, "magnitude", magnitude, echo_time=0.0023),
        volume(vendor, "b0map", field, echo_time=0.0023),
    )
    settings = {"description": "B0_map", "number": 12, **common}
    return DicomSeries(vendor, volumes, **settings)


def t1w(vendor: Vendor, values: NDArray, **common: Any) -> DicomSeries:
    """An MPRAGE-like series."""
    settings = {"sequence": "mprage", "description": "t1_mprage_sag", "number": 3, **common}
    return DicomSeries(vendor, (volume(vendor, "magnitude", values, echo_time=0.00298),), **settings)


def localiser(vendor: Vendor, values: NDArray, **common: Any) -> DicomSeries:
    """A 2D scout."""
    settings = {
        "sequence": "localiser",
        "description": "localizer",
        "number": 1,
        "acquisition_type": "2D",
        **common,
    }
    return DicomSeries(vendor, (volume(vendor, "magnitude", values, echo_time=0.004),), **settings)
