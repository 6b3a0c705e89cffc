"""Images from which R2 is found: multi-echo spin echoes, or a map of R2 or T2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qsmxt_app.bids.acquisition import R2Images
from qsmxt_app.bids.assembly import ImageFile
from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.bids.timing import echo_time_of
from qsmxt_app.errors import QsmxtError
from qsmxt_app.qsm.constants import FEWEST_SPIN_ECHOES

R2_SUFFIXES = ("R2map", "T2map", "MESE")
"""In order of preference: a map was made by a model of the sequence, which a fit of spin echoes lacks."""
_TIMES = {"s": 1.0, "ms": 1e-3}
_RATES = {"1/s": 1.0, "s^-1": 1.0, "Hz": 1.0, "1/ms": 1e3, "ms^-1": 1e3, "kHz": 1e3}


def find_r2(
    images: Sequence[ImageFile], session: str | None, sidecars: Sidecars
) -> tuple[R2Images | None, tuple[str, ...]]:
    """Choose the plainest images of R2 of a session (fewest entities, first run).

    Parameters
    ----------
    images
        Of the participant, in natural order.
    session
        Of the gradient echoes.
    sidecars
        Of the dataset.

    Returns
    -------
    images : R2Images or None
    problems : tuple of str
        Why images that are there are not used.
    """
    scans: dict[object, list[ImageFile]] = {}
    for image in images:
        if image.entities.get("ses") == session:
            scans.setdefault((image.suffix, image.without("echo")), []).append(image)
    problems: list[str] = []
    order = sorted(
        scans.values(), key=lambda scan: (R2_SUFFIXES.index(scan[0].suffix), len(scan[0].entities))
    )
    for scan in order:
        try:
            return _described(scan, sidecars), tuple(problems)
        except (QsmxtError, ValueError) as error:
            problems.append(f"{scan[0].path.name} is not used for R2: {error}.".replace("..", "."))
    return None, tuple(problems)


def _described(scan: Sequence[ImageFile], sidecars: Sidecars) -> R2Images:
    files, kind = tuple(image.path for image in scan), scan[0].suffix
    metadata = [sidecars.metadata(file) for file in files]
    if kind == "R2map":
        return R2Images("R2map", files[:1], scale=_scale(metadata[0], _RATES))
    if kind == "T2map":
        return R2Images("T2map", files[:1], scale=_scale(metadata[0], _TIMES))
    times: list[float] = []
    for file, one in zip(files, metadata, strict=True):
        found = echo_time_of(one, file)
        times += found if isinstance(found, list) else [found] if found is not None else []
    if len(times) < FEWEST_SPIN_ECHOES or (len(files) > 1 and len(files) != len(times)):
        raise ValueError(
            f"{len(files)} files with {len(times)} echo times, and {FEWEST_SPIN_ECHOES} are needed"
        )
    if len(files) == 1:
        return R2Images("MESE", files, tuple(times))
    ordered = sorted(zip(times, files, strict=True))
    return R2Images("MESE", tuple(file for _, file in ordered), tuple(time for time, _ in ordered))


def _scale(metadata: dict[str, Any], known: dict[str, float]) -> float:
    units = metadata.get("Units", next(iter(known)))
    if units not in known:
        raise ValueError(f"its Units are {units!r}, not one of {', '.join(known)}")
    return known[units]
