"""What the numbers of an image are (magnitude, phase, ...), from what its header says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Component = Literal["magnitude", "phase", "real", "imaginary", "phasediff", "b0map", "unknown"]
"""``phasediff``: phase of one echo minus that of another; ``b0map``: Hz; ``unknown``: not said."""

_TOKENS: dict[Component, frozenset[str]] = {
    "b0map": frozenset({"B0", "B0 MAP", "B0MAP", "FIELDMAP", "FIELD MAP", "FIELDMAPHZ", "FIELD_MAP"}),
    "phasediff": frozenset({
        "PHASE DIFFERENCE", "PHASE_DIFFERENCE", "PHASEDIFFERENCE", "PHASEDIFF", "PHASE_DIFF", "PHASE DIFF",
        "DELTA PHASE", "DELTA_PHASE", "PHASE DIFFERENCE MAP",
    }),
    "phase": frozenset({"P", "PHASE", "PHASE MAP", "PHASE_MAP", "PHASEMAP", "PHASE IMAGE", "P_FFE", "PHA"}),
    "real": frozenset({"R", "REAL", "R_FFE", "R_IR", "R_SE", "REAL IMAGE"}),
    "imaginary": frozenset({"I", "IMAGINARY", "IMAG", "I_FFE", "I_IR", "I_SE", "IMAGINARY IMAGE"}),
    "magnitude": frozenset({
        "M", "MAGNITUDE", "MAG", "M_FFE", "M_SE", "M_IR", "M_TSE", "MODULUS", "MAGNITUDE IMAGE",
    }),
}  # fmt: skip
_NEITHER = frozenset({"V", "VELOCITY", "VELOCITY MAP", "PHASE CONTRAST M", "FLOW", "PCA"})
_SPECIAL: tuple[Component, ...] = ("b0map", "phasediff")


def component_of(
    image_type: Sequence[str],
    complex_component: str = "",
    rescale_type: str = "",
    private: Component | None = None,
) -> Component:
    """Tell what the numbers of an image are.

    Parameters
    ----------
    image_type
        (0008,0008), or (0008,9007) of a frame, with the vendor's own words: upper case.
    complex_component
        (0008,9208) Complex Image Component.
    rescale_type
        (0028,1054).
    private
        What a private element of the vendor says (`Vendor.component`).

    Returns
    -------
    Component
        ``unknown`` where nothing in the header tells. A phase that is a difference of two echoes but does
        not say so (Siemens) is found out with its series, in `classify`.

    Notes
    -----
    What is said most precisely wins: units of Hz, then the words for differences and maps, the vendor's
    own element, and last the standard's, which has no word for a difference or a field map.
    """
    specific = tuple(image_type[2:])
    if private == "b0map" or rescale_type.upper() == "HZ":
        return "b0map"
    for special in _SPECIAL:
        if not _TOKENS[special].isdisjoint(specific):
            return special
    if _NEITHER.intersection(specific):
        return "magnitude" if "M" in specific else "unknown"
    return private or _by_words((*specific, complex_component.upper()), rescale_type)


def _by_words(words: Sequence[str], rescale_type: str) -> Component:
    for one in words:
        for component, tokens in _TOKENS.items():
            if one in tokens:
                return component
    if rescale_type.lower() in {"mrad", "rad"}:
        return "phase"
    return "unknown"
