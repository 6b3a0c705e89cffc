"""Which axis behind x, y and z of an image holds echoes, and which uncombined coils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qsmxt_app.bids.acquisition import Echo

FIFTH_AXIS = (
    "the fifth axis is taken for uncombined coils, of which the sidecar says nothing "
    "(CoilCombinationMethod: none); repetitions would be averaged"
)
_UNCOMBINED = frozenset({"none", "no", "uncombined", "not combined", "not applied"})


def coils_of(
    echoes: Sequence[Echo], shape: Sequence[int], coil_axis: int | None
) -> tuple[tuple[Echo, ...], ...]:
    """Return the echoes of each coil, with the places of their volumes in the files.

    Parameters
    ----------
    echoes
        All that the files hold.
    shape
        Of the axes behind x, y and z.
    coil_axis
        From `find_coil_axis`.
    """

    def volume(echo: int, coil: int) -> Echo:
        # the axis of echoes has length one where each has a file of its own
        index = (coil if axis == coil_axis else echo % size for axis, size in enumerate(shape))
        return replace(echoes[echo], index=tuple(index))

    coils = 1 if coil_axis is None else shape[coil_axis]
    return tuple(tuple(volume(echo, coil) for echo in range(len(echoes))) for coil in range(coils))


def is_uncombined(metadata: Mapping[str, Any], entities: Mapping[str, str]) -> bool:
    """Whether a sidecar (``CoilCombinationMethod``) or a name (``rec-``, ``acq-``) says that coils are apart.

    Examples
    --------
    >>> is_uncombined({"CoilCombinationMethod": "None"}, {}), is_uncombined({}, {"rec": "uncombined"})
    (True, True)
    """
    method = str(metadata.get("CoilCombinationMethod", "")).strip().lower()
    labels = [entities.get(key, "").lower() for key in ("rec", "acq")]
    return method in _UNCOMBINED or any("uncombined" in label for label in labels)


def find_coil_axis(shape: Sequence[int], echo_times: int | None, *, uncombined: bool) -> int | None:
    """Tell which axis behind x, y and z holds uncombined coils; None where all are echoes.

    Parameters
    ----------
    shape
        Of the axes behind x, y and z: none, one or two.
    echo_times
        Length of the list of echo times; None where there is a single one.
    uncombined
        Whether the coils are known to be apart.

    Raises
    ------
    ValueError
        If several readings are possible, or none.

    Examples
    --------
    >>> find_coil_axis((8,), None, uncombined=True), find_coil_axis((5, 8), 5, uncombined=False)
    (0, 1)
    """
    if not shape or tuple(shape) == (echo_times,):
        return None
    if len(shape) == 1 and uncombined and echo_times is None:
        return 0
    # the fourth axis is NIfTI's for time, so that one echo and coils along the fifth are no riddle
    echo_axes = [axis for axis, size in enumerate(shape) if size == (echo_times or 1)]
    if len(shape) == 2 and len(echo_axes) == 1:
        return 1 - echo_axes[0]
    raise ValueError(f"{shape} volumes, {echo_times} echo times")
