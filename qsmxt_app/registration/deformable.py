"""Deformable registration by the method of choice."""

from __future__ import annotations

from collections.abc import Sequence

from qsmxt_app.registration.greedy import Deformation, Pair, deform
from qsmxt_app.registration.image import Grid
from qsmxt_app.registration.resample import apply
from qsmxt_app.registration.transforms import Transform

GREEDY, SYN = "greedy", "syn"
METHODS = (GREEDY, SYN)


def register_deformable(
    pairs: Sequence[Pair], grid: Grid, initial: Transform, options: Deformation, method: str = GREEDY
) -> Transform:
    """Register images of one contrast by a diffeomorphic transform, from an initial one.

    Parameters
    ----------
    pairs
        Fixed and moving images, all in the same two worlds.
    grid : Grid
        The working grid, in the world of the fixed images.
    initial : Transform
        From moving to fixed.
    options : Deformation
        Levels of both methods, and what else :func:`qsmxt_app.registration.greedy.deform` takes.
    method
        ``greedy``: that function; ``syn``: SyN by ANTs, of all pairs, everywhere.

    Returns
    -------
    Transform
        From moving to fixed.

    References
    ----------
    Avants BB, et al. Med Image Anal 12:26-41 (2008): SyN.
    """
    if method != SYN:
        return deform(pairs, grid, initial, options)
    from qsmxt_app.registration.syn import Channel, SynOptions, register_syn

    fixed = [apply(pair.fixed, grid) for pair in pairs]
    levels = SynOptions(
        iterations=options.iterations,
        shrink=options.shrink,
        smoothing=tuple(0.5 * factor if factor > 1 else 0.0 for factor in options.shrink),
    )
    further = [
        Channel(image, pair.moving, pair.weight) for image, pair in zip(fixed[1:], pairs[1:], strict=True)
    ]
    return register_syn(fixed[0], pairs[0].moving, levels, initial, further)
