"""The methods of labels, regional values and the group level, from what was run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsmxt_app.records.group import GroupRecord, TemplateResult
from qsmxt_app.records.open_values import number
from qsmxt_app.records.scan import ScanRecord, Segmentation
from qsmxt_app.report.rendering import show_product
from qsmxt_app.segment.atlases import ATLASES

_PROGRAMS = (
    ("synthseg", "SynthSeg [@billot2023]"),
    ("fastsurfer", "FastSurfer [@henschel2020]"),
    ("aparc", "FreeSurfer [@fischl2002;@desikan2006]"),
    ("aseg", "FreeSurfer [@fischl2002]"),
)


def segmentation_sentences(record: ScanRecord) -> tuple[str, ...]:
    """Write how regions were labelled and their values read; nothing where there were none."""
    done = record.segmentation
    if done.status not in ("planned", "done"):
        return ()
    return tuple(
        filter(None, (_labelled(done), _syn(record, done.method), _aligned(done), _values(record.settings)))
    )


def group_sentences(record: GroupRecord | None) -> tuple[str, ...]:
    """Write how the template was built; nothing where the group level built none."""
    template = record.template if record else None
    if not record or not template:
        return ()
    sizes = template.voxel_size
    grid = f" with voxels of {show_product(sizes)} mm³" if len(sizes) == 3 else ""
    channels = " and ".join(template.channels[:2])
    people = len(template.participants)
    if template.existing:
        return (
            f"The maps of {people} participants were registered to an existing template ({_name(template)})"
            f"{grid} by affine and diffeomorphic transforms [@avants2008], and averaged.",
        )
    rounds = len(template.rounds)
    return (
        f"A template was built from {people} participants{grid}: the mean of their {channels or 'images'}, "
        "each registered to it by rigid and affine transforms with mutual information [@mattes2003] and "
        "diffeomorphic ones with local correlation "
        f"[@avants2008;@joshi2004;@avants2010], in {rounds} round{'' if rounds == 1 else 's'}, its shape "
        "being the mean shape.",
        *filter(None, [_syn(record)]),
        "Susceptibility was resampled once to the template, and its mean, standard deviation and number of "
        "participants computed voxel by voxel.",
    )


def _syn(record: ScanRecord | GroupRecord, method: str = "atlas") -> str:
    if method != "atlas" or record.settings.get("registration") != "syn":
        return ""
    version = record.software.get("antspyx")
    named = f" (antspyx {_plain(version)})" if version else ""
    return f"Deformations were found by SyN of ANTs{named} [@avants2011]."


def _labelled(done: Segmentation) -> str:
    on, atlas = "the T1-weighted image" if done.t1w else "the magnitude", done.atlas
    if done.method == "meshnet":
        name = f" ({_plain(atlas)})" if atlas else ""
        if atlas.endswith(".onnx"):
            return f"Regions were labelled on {on} by a network{name}, run by ONNX Runtime."
        return f"Regions were labelled on {on} by a MeshNet{name} [@fedorov2017;@masoud2023]."
    if done.method == "derivatives":
        program = next((words for key, words in _PROGRAMS if key in atlas.lower()), "another program")
        return f"Labels of {program} were used{f' ({_plain(atlas)})' if atlas else ''}."
    source = ATLASES[atlas].phrase if atlas in ATLASES else f"the atlas {_plain(atlas)}"
    return (
        f"Regions were labelled by registration of {source} to {on}: affine by mutual information "
        "[@mattes2003], then diffeomorphic with local correlation [@avants2008]."
    )


def _aligned(done: Segmentation) -> str:
    if not done.t1w:
        return ""
    if done.alignment.used == "header":
        return "The T1-weighted image and the gradient echo were taken to be aligned as their headers say."
    return (
        "The magnitude was aligned rigidly to the T1-weighted image, by mutual information [@mattes2003] and "
        "then by local correlation, and labels were transferred to the map in one interpolation."
    )


def _values(settings: Mapping[str, Any]) -> str:
    threshold, layers = number(settings.get("roi_threshold")), number(settings.get("roi_erode"))
    counted = (
        f"voxels that a region fills by at least {threshold:.0%}" if threshold else "all voxels of a region"
    )
    eroded = f", after {layers:.0f} layer{'s were' if layers > 1 else ' was'} eroded" if layers else ""
    return f"Regional values are over {counted}{eroded}, inside the mask of the map."


def _name(template: TemplateResult) -> str:
    return _plain(template.name) or "without a name"


def _plain(value: str) -> str:
    return value.replace("[@", "[ @")
