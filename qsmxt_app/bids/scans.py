"""From the images of a participant to its scans: which belong together, and under which name."""

from __future__ import annotations

from dataclasses import replace

from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.bids.assembly import ImageFile, assemble, has_phase
from qsmxt_app.bids.entities import build_name
from qsmxt_app.bids.r2_images import find_r2
from qsmxt_app.bids.selection import Selection
from qsmxt_app.bids.sidecars import Sidecars

QSM_SUFFIXES = ("MEGRE", "T2starw", "MPM", "VFA", "GRE")
"""Gradient echoes: MPM and VFA hold several of them, with other flip angles; GRE is of drafts of BIDS."""
T1W_SUFFIXES = ("T1w", "UNIT1")
"""T1-weighted images in order of preference: MP2RAGE's uniform image has noise outside the head."""


def assemble_scans(
    images: list[ImageFile], sidecars: Sidecars, selection: Selection
) -> tuple[list[Acquisition], list[Problem], list[str]]:
    """Make acquisitions of the gradient echoes of one participant.

    Parameters
    ----------
    images
        In natural order.
    sidecars
        Of the dataset.
    selection
        Which reconstructions and echoes are wanted.

    Returns
    -------
    tuple
        The acquisitions, a problem for each file that prevents one, and a sentence for what is left out.
    """
    notes: list[str] = []
    scans = _pair_reconstructions(images, selection, notes)
    # Magnitudes alone are ordinary images; a problem only where phase is the rule, or nothing else is there.
    others = any(has_phase(scan) for scan in scans)
    acquisitions: list[Acquisition] = []
    problems: list[Problem] = []
    for scan in scans:
        if others and scan[0].suffix != "MEGRE" and not has_phase(scan):
            notes.append(f"{scan[0].path}: no phase; left out.")
            continue
        chosen = [image for image in scan if selection.has_echo(image.echo)]
        if not chosen:
            notes.append(f"{scan[0].path}: none of the echoes that --echoes selects; left out.")
            continue
        acquisition, failed = assemble(chosen, sidecars, selection.echoes)
        problems += failed
        if acquisition:
            acquisitions.append(acquisition)
    return acquisitions, problems, notes


def _pair_reconstructions(
    images: list[ImageFile], selection: Selection, notes: list[str]
) -> list[list[ImageFile]]:
    """Group images by scan; of magnitudes that differ in ``rec-`` alone, one goes with the phase.

    Scanners save a magnitude twice (``rec-norm``: corrected for the coils' sensitivity) and phase once.
    """
    families: dict[object, dict[str | None, list[ImageFile]]] = {}
    for image in images:
        family = families.setdefault(image.without("rec"), {})
        family.setdefault(image.entities.get("rec"), []).append(image)
    kept: list[list[ImageFile]] = []
    for family in families.values():
        spare = {rec: scan for rec, scan in family.items() if not has_phase(scan)}
        complete = {rec: scan for rec, scan in family.items() if has_phase(scan)}
        for rec, scan in complete.items():
            chosen = next((one for one in spare if selection.has_reconstruction(one)), None)
            wanted = selection.has_reconstruction(rec)
            phase = [image for image in scan if image.part != "mag"]
            if chosen in spare and (not wanted or (phase == scan and phase[0].part == "phase")):
                notes.append(f"{spare[chosen][0].path}: used with the phase of {phase[0].path.name}.")
                kept.append([*phase, *spare.pop(chosen)])
            elif wanted:
                kept.append(scan)
        if complete:
            notes += [
                f"{scan[0].path}: a second magnitude, without phase; left out." for scan in spare.values()
            ]
        else:
            kept += [scan for rec, scan in spare.items() if selection.has_reconstruction(rec)]
    return kept


def with_t1w(acquisition: Acquisition, images: list[ImageFile]) -> Acquisition:
    """Add the plainest T1w of the session (fewest entities, first run), or of another with a warning."""
    if not images:
        return acquisition
    own = [image for image in images if image.entities.get("ses") == acquisition.session]
    # min() keeps the first in natural order among equals.
    best = min(own or images, key=lambda image: (T1W_SUFFIXES.index(image.suffix), len(image.entities)))
    others = [image.path.name for image in own if image.suffix == best.suffix and image is not best]
    warnings = acquisition.warnings
    if not own:
        warnings += (f"no T1w in this session; {best.path.name} is used",)
    elif others:
        warnings += (f"several T1w in this session; {best.path.name} is used, not {', '.join(others)}",)
    return replace(acquisition, t1w=best.path, warnings=warnings)


def with_r2(acquisition: Acquisition, images: list[ImageFile], sidecars: Sidecars) -> Acquisition:
    """Add the images of the session from which R2 is found, or why they are not used."""
    found, problems = find_r2(images, acquisition.session, sidecars)
    return replace(acquisition, r2=found, r2_problems=problems)


def distinct_names(acquisitions: list[Acquisition]) -> list[Acquisition]:
    """Keep a MEGRE and a T2starw scan with the same entities from writing to the same files."""
    taken: set[str] = set()
    distinct = []
    for acquisition in sorted(acquisitions, key=lambda one: (*QSM_SUFFIXES, one.suffix).index(one.suffix)):
        entities = acquisition.output_entities
        if acquisition.stem in taken:
            label = "+".join(filter(None, [entities.get("acq"), acquisition.suffix]))
            named = build_name(entities | {"acq": label}, "x", "").removesuffix("_x")
            entities = dict(pair.split("-", 1) for pair in named.split("_"))
        renamed = replace(acquisition, output_entities=entities)
        taken.add(renamed.stem)
        distinct.append(renamed)
    return distinct
