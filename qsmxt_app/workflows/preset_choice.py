"""`--preset auto`: which preset suits a scan, by what its sidecars say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.config import AUTO, with_preset
from qsmxt_app.settings import DEFAULT_PRESET, Settings
from qsmxt_app.workflows.length_scale import length_scale

BODY_PART_KEYS = ("BodyPart", "BodyPartExamined")
HEAD = ("head", "brain", "skull", "cereb", "cranium")
# what scanners write where the operator named no body part
UNSPECIFIED = ("", "unknown", "other", "none", "na", "n/a", "wholebody", "whole body")
SEQUENCE_KEYS = (
    "ScanningSequence",
    "PulseSequenceType",
    "PulseSequenceName",
    "SequenceName",
    "SequenceVariant",
)


@dataclass(frozen=True)
class Choice:
    """A preset, and why it was chosen."""

    preset: str
    reason: str


def settings_for(acquisition: Acquisition, settings: Settings) -> tuple[Settings, Choice | None]:
    """Return the settings for one scan, and the choice that was made where none was given."""
    if settings.preset != AUTO:
        return settings, None
    choice = choose_preset(acquisition)
    return with_preset(settings, choice.preset), choice


def choose_preset(acquisition: Acquisition) -> Choice:
    """Choose a preset for a scan.

    Only the sidecars and the grid decide: a guess from the images that is wrong once in a hundred scans would
    process a study in two ways unnoticed.
    """
    metadata = acquisition.metadata
    if length_scale(acquisition.voxel_size, acquisition.shape, "auto") != 1:
        return Choice("small", f"{_described(acquisition)}: finer and smaller than any scan of a person")
    part = body_part(metadata)
    if part is not None:
        return Choice("body", f"{part}: not a head, so no anatomy is assumed")
    epi = _echo_planar(metadata)
    if epi is not None:
        return Choice("epi", f"{epi}: echo-planar readout")
    return Choice(
        DEFAULT_PRESET,
        f"{_described(acquisition)}; echo-planar or another body part in no sidecar",
    )


def body_part(metadata: Mapping[str, Any]) -> str | None:
    """Key and value that say that something other than a head was scanned."""
    for key in BODY_PART_KEYS:
        value = str(metadata.get(key) or "").strip()
        if value.lower() not in UNSPECIFIED and not any(word in value.lower() for word in HEAD):
            return f"{key} {value}"
    return None


def _echo_planar(metadata: Mapping[str, Any]) -> str | None:
    """Key and value that say that the readout is echo-planar."""
    for key in SEQUENCE_KEYS:
        value = metadata.get(key) or ""
        words = value if isinstance(value, list) else re.split(r"[\\_/]", str(value))
        if any(_is_epi(key, str(word).strip().lower()) for word in words):
            return f"{key} {value}"
    return None


def _is_epi(key: str, word: str) -> bool:
    if key == "ScanningSequence":  # DICOM's defined term
        return word == "ep"
    # Siemens names such sequences *epfid2d1_64
    return "epi" in word or word.lstrip("*").startswith(("epfid", "ep2d", "ep3d"))


def _described(acquisition: Acquisition) -> str:
    size = " x ".join(f"{edge:.3g}" for edge in acquisition.voxel_size)
    count = len(acquisition.echoes)
    kind = str(acquisition.metadata.get("MRAcquisitionType") or "")
    sequence = f"{kind} gradient echo".strip()
    return f"{sequence} of {count} {'echo' if count == 1 else 'echoes'}, voxels of {size} mm"
