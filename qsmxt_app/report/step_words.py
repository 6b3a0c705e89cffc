"""Steps of a run as people call them."""

from __future__ import annotations

from qsmxt_app.maps import MAPS

_WORDS = {
    "prepare": "reading the images",
    "masks": "making the masks",
    "field": "field map",
    "background": "background field removal",
    "tgv": "TGV-QSM",
    "inversion": "dipole inversion",
    "combine": "combination and reference",
    "r2": "R2 map",
    "derivatives": "writing the maps",
    "prepare_t1w": "preparing the T1w image",
    "register_atlas": "registration of the atlas",
    "label_t1w": "labels of the T1w image",
    "write_t1w": "writing the T1w image and its labels",
    "align": "alignment of magnitude and T1w",
    "label": "labels on the map",
    "reference": "reference region",
    "regions": "regional values",
    "spaces": "maps in other spaces",
}
_SECOND = "_reliable"


def step_words(name: str) -> str:
    """Return the words for a step; its own name where it has none.

    Examples
    --------
    >>> step_words("tgv_reliable")
    'TGV-QSM, second pass'
    """
    if name.endswith(_SECOND):
        return f"{step_words(name.removesuffix(_SECOND))}, second pass"
    if name in MAPS:
        step = MAPS[name]
        first = next(iter(step.shown.views), None) if step.shown else None
        return (step.shown.title if step.shown else "") or (first.title if first else name)
    return _WORDS.get(name, name)
