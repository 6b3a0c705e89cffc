"""People whose brain is not like the atlas's head: another shape, and nuclei that lie elsewhere.

The T1w image follows the shape, but shows little of the nuclei of midbrain and cerebellum: where those lie,
how large they are and whether they are there at all is drawn independently of it, and only chi shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qsmxt_app.qsm.morphology import nearest_of
from qsmxt_app.simulate.person import Person, make_person
from qsmxt_app.simulate.tissues import LABELS
from qsmxt_app.simulate.volume import HEAD_BOX, Volume, grid_axes, random_field

MIDBRAIN = ("Substantia-Nigra", "Red-Nucleus", "Subthalamic-Nucleus")
_SMALL = (*MIDBRAIN, "Dentate-Nucleus")
_SIDES = ("Left", "Right")
Shift = tuple[float, float, float]


@dataclass(frozen=True)
class Nuclei:
    """How the small nuclei of a person differ from those of the template.

    Attributes
    ----------
    shifts
        mm to the side, to the front and up, by name; "to the side" is away from the midline.
    scale
        Of their edges.
    missing
        Full names of those that have no iron, and look like what is around them.
    bleed
        Full name of the nucleus beside which there is a microbleed.
    """

    shifts: Mapping[str, Shift] = field(default_factory=dict)
    scale: float = 1.0
    missing: tuple[str, ...] = ()
    bleed: str = ""


def _moved(midbrain: Shift, dentate: Shift, nigra_on_top: Shift = (0, 0, 0)) -> dict[str, Shift]:
    shifts = dict.fromkeys(MIDBRAIN, midbrain) | {"Dentate-Nucleus": dentate}
    x, y, z = (a + b for a, b in zip(midbrain, nigra_on_top, strict=True))
    return shifts | {"Substantia-Nigra": (x, y, z)}


CASES: Mapping[str, Nuclei] = {
    "in place": Nuclei(),
    "8 mm higher": Nuclei(_moved((0, 0, 8), (0, 3, 6))),
    "10 mm lower": Nuclei(_moved((0, -2, -10), (0, -4, -5))),
    "apart": Nuclei(_moved((0, 2, 5), (3, 0, 4), nigra_on_top=(2, 2, -3))),
    "half": Nuclei(_moved((0, 3, 5), (0, 3, 3)), scale=0.8),
    "twice": Nuclei(_moved((0, 3, 5), (0, 3, 3)), scale=1.26),
    "one missing": Nuclei(_moved((0, 0, 7), (0, 0, 5)), missing=("Left-Red-Nucleus",)),
    "bleed": Nuclei(_moved((0, 0, 6), (0, 3, 0)), bleed="Right-Substantia-Nigra"),
}


def other_person(seed: int, nuclei: Nuclei) -> Person:
    """Draw a person with a short and wide brain, wide ventricles and a strong deformation of its own."""
    rng = np.random.default_rng([seed, 77])
    person = make_person(seed, 1, "elderly")
    extra = [random_field(rng, HEAD_BOX, 6.0, 32.0) for _ in range(3)]
    displacement = [
        Volume(old.data + np.float32(3.0) * new.data, old.origin, old.spacing)
        for old, new in zip(person.displacement, extra, strict=True)
    ]
    labels, bleeds = _relabelled(person.template.labels, nuclei)
    return replace(
        person,
        scale=person.scale * (1.07, 0.93, 1.04),
        displacement=(displacement[0], displacement[1], displacement[2]),
        template=replace(person.template, labels=labels),
        lesions=np.concatenate([person.lesions, bleeds]),
        # healthy iron: the older head's would make every nucleus easier to see
        chi=make_person(seed, 1).chi,
    )


def _relabelled(template: Volume, nuclei: Nuclei) -> tuple[Volume, np.ndarray]:
    """Take the small nuclei out of the template, and draw them where the person has them."""
    labels = template.data.copy()
    numbers = {f"{side}-{name}": LABELS[f"{side}-{name}"] for name in _SMALL for side in _SIDES}
    gone = np.isin(labels, list(numbers.values()))
    box = tuple(slice(max(0, hit.min() - 8), hit.max() + 9) for hit in np.nonzero(gone))
    labels[box] = np.where(gone[box], nearest_of(labels[box], ~gone[box]), labels[box])
    x, y, z = grid_axes((template.origin, template.origin + np.array(labels.shape) - 1), 1.0)
    grid = np.stack(np.broadcast_arrays(x, y, z), -1)
    bleeds = np.empty((0, 5))
    for full, number in numbers.items():
        side, name = full.split("-", 1)
        where = np.argwhere(template.data == number) + template.origin
        centre, away = where.mean(0), np.array([-1 if side == "Left" else 1, 1, 1])
        there = centre + away * nuclei.shifts.get(name, (0.0, 0.0, 0.0))
        low, high = where.min(0) - centre, where.max(0) - centre
        corner = np.floor(there + nuclei.scale * low - template.origin).astype(int) - 1
        end = np.ceil(there + nuclei.scale * high - template.origin).astype(int) + 2
        part = tuple(slice(a, b) for a, b in zip(corner, end, strict=True))
        source = np.rint((grid[part] - there) / nuclei.scale + centre - template.origin).astype(int)
        inside = template.data[tuple(np.moveaxis(source, -1, 0))] == number
        if full not in nuclei.missing:
            labels[part][inside] = number
        if full == nuclei.bleed:
            beside = there + away * (0, 1, -1) * (high - low) * 0.7
            bleeds = np.array([[*beside, 2.5, LABELS["Microbleed"]]])
    return Volume(labels, template.origin, template.spacing), bleeds
