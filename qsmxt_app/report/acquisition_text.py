"""Acquisition parameters for the methods text, from the sidecars, and which of them are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qsmxt_app.records.open_values import number, text
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.rendering import show_duration, show_product

OBLIQUE_DEGREES = 1.0
"""Tilt below which slices count as straight."""

_KNOWN_DIMENSIONS = ("2D", "3D")


@dataclass(frozen=True)
class Item:
    """One item that the consensus asks authors to report.

    Attributes
    ----------
    title
        Its name, for the list of those that are missing.
    keys
        Keys of BIDS sidecars that tell it.
    words
        Makes words of the sidecar; empty if it does not tell.
    """

    title: str
    keys: tuple[str, ...]
    words: Callable[[Mapping[str, Any]], str]


def _scanner(sidecar: Mapping[str, Any]) -> str:
    return " ".join(
        filter(None, (_plain(sidecar, "Manufacturer"), _plain(sidecar, "ManufacturersModelName")))
    )


def _sequence(sidecar: Mapping[str, Any]) -> str:
    dimensions = _plain(sidecar, "MRAcquisitionType")
    name = _plain(sidecar, "PulseSequenceType") or _plain(sidecar, "SequenceName")
    known = dimensions if dimensions in _KNOWN_DIMENSIONS else ""
    if not known and not name:
        return ""
    return f"{known + ' ' if known else ''}gradient-echo sequence{f' ({name})' if name else ''}"


def _repetition_time(sidecar: Mapping[str, Any]) -> str:
    seconds = number(sidecar.get("RepetitionTimeExcitation")) or number(sidecar.get("RepetitionTime"))
    return f"TR {1000 * seconds:.4g} ms" if seconds else ""


def _acceleration(sidecar: Mapping[str, Any]) -> str:
    factors = [number(sidecar.get(f"ParallelReductionFactor{where}")) for where in ("InPlane", "OutOfPlane")]
    partial = number(sidecar.get("PartialFourier"))
    known = [f"{factor:g}" for factor in factors if factor and factor > 1]
    technique = _plain(sidecar, "ParallelAcquisitionTechnique")
    words = [f"acceleration {' by '.join(known)}{f' ({technique})' if technique else ''}"] if known else []
    if partial is not None:
        words.append(f"partial Fourier {partial:g}" if partial < 1 else "no partial Fourier")
    if not words and any(factor is not None for factor in factors):
        words = ["no acceleration"]
    return ", ".join(words)


def _with_unit(key: str, form: str) -> Callable[[Mapping[str, Any]], str]:
    def words(sidecar: Mapping[str, Any]) -> str:
        value = number(sidecar.get(key))
        return form.format(value) if value is not None else ""

    return words


def _duration(sidecar: Mapping[str, Any]) -> str:
    seconds = number(sidecar.get("AcquisitionDuration"))
    return f"acquired in {show_duration(seconds)}" if seconds else ""


def _combination(sidecar: Mapping[str, Any]) -> str:
    return _plain(sidecar, "CoilCombinationMethod")


SCANNER = Item("scanner", ("Manufacturer", "ManufacturersModelName"), _scanner)
COIL = Item("receive coil", ("ReceiveCoilName",), lambda sidecar: _plain(sidecar, "ReceiveCoilName"))
SEQUENCE = Item("type of sequence", ("MRAcquisitionType", "PulseSequenceType", "SequenceName"), _sequence)
DETAILS = (
    Item("repetition time", ("RepetitionTimeExcitation", "RepetitionTime"), _repetition_time),
    Item("flip angle", ("FlipAngle",), _with_unit("FlipAngle", "flip angle {:g}°")),
    Item("bandwidth", ("PixelBandwidth",), _with_unit("PixelBandwidth", "bandwidth {:.4g} Hz a pixel")),
    Item(
        "acceleration and partial Fourier",
        ("ParallelReductionFactorInPlane", "ParallelReductionFactorOutOfPlane",
         "ParallelAcquisitionTechnique", "PartialFourier"),
        _acceleration,
    ),
    Item("acquisition time", ("AcquisitionDuration",), _duration),
)  # fmt: skip
COMBINATION = Item("combination of the coils", ("CoilCombinationMethod",), _combination)
ITEMS = (SCANNER, COIL, SEQUENCE, *DETAILS, COMBINATION)
SIDECAR_KEYS = tuple(key for item in ITEMS for key in item.keys)
"""Keys of sidecars that a record must hold for the text."""


def acquisition_sentences(record: ScanRecord) -> tuple[str, ...]:
    """Write how the data were acquired and reconstructed.

    Parameters
    ----------
    record
        `inputs` with `sidecar`, the entries of the sidecars named in `SIDECAR_KEYS`.
    """
    if not record.inputs.echo_times:
        return ()
    sidecar = record.inputs.sidecar
    return (_acquired(record, sidecar), _geometry(record), _reconstructed(record, sidecar))


def to_add(record: ScanRecord) -> tuple[str, ...]:
    """Say to an author what is to be reported as well, and is not recorded with the images.

    Parameters
    ----------
    record
        As for :func:`acquisition_sentences`.
    """
    if not record.inputs.echo_times:
        return ()
    missing = [item.title for item in ITEMS if not item.words(record.inputs.sidecar)]
    if not record.inputs.readout_told and len(record.inputs.echo_times) > 1:
        missing.append("readout polarity")
    listed = f"{', '.join(missing)}, and flow compensation" if missing else "flow compensation"
    return (f"To be added by the author, as it is not recorded with the images: {listed}.",)


def _acquired(record: ScanRecord, sidecar: Mapping[str, Any]) -> str:
    strength = record.inputs.field_strength
    where = ", ".join(filter(None, (SCANNER.words(sidecar), COIL.words(sidecar))))
    at = f" at {strength:.3g} T" if strength else ""
    listed = ", ".join(f"{1000 * time:.4g}" for time in record.inputs.echo_times)
    count = len(record.inputs.echo_times)
    parts = [f"{count} {'echo' if count == 1 else 'echoes'} (TE {listed} ms)"]
    bipolar, declared = record.inputs.bipolar, record.inputs.readout_told
    if count > 1 and (bipolar is True or (bipolar is False and declared)):
        parts[0] += f" with {'bipolar' if bipolar else 'monopolar'} readout"
    parts += [words for item in DETAILS if (words := item.words(sidecar))]
    sequence = SEQUENCE.words(sidecar)
    by = f" by a {sequence}" if sequence else ""
    return (
        f"Gradient-echo data{at}{f' ({where})' if where else ''} were acquired{by} with {', '.join(parts)}."
    )


def _geometry(record: ScanRecord) -> str:
    sizes, shape = record.inputs.voxel_size, record.inputs.shape
    if sizes is None:
        return ""
    words = f"Voxels were {show_product(sizes)} mm³"
    if shape is not None:
        view = [size * count for size, count in zip(sizes, shape, strict=True)]
        words += f", the matrix {show_product(shape, 4)} and the field of view {show_product(view)} mm³"
    tilt = record.inputs.obliquity_degrees
    if tilt is None:
        return f"{words}."
    orientation = "oblique to" if tilt > OBLIQUE_DEGREES else "along"
    return f"{words}; the slices lay {orientation} the scanner's axes."


def _reconstructed(record: ScanRecord, sidecar: Mapping[str, Any]) -> str:
    combined, scaling = COMBINATION.words(sidecar), record.inputs.phase_scaling
    sentences = []
    if combined:
        sentences.append(f"The scanner combined the coils by {combined}.")
    if scaling:
        sentences.append(f"Stored phase was converted to radians ({scaling.replace('[@', '[ @')}).")
    return " ".join(sentences)


def _plain(sidecar: Mapping[str, Any], key: str) -> str:
    """Text of a sidecar, kept from being read as a citation."""
    return text(sidecar.get(key)).replace("[@", "[ @").replace("_", " ").strip()
