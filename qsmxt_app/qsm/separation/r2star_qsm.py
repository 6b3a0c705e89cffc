"""Source separation from gradient echoes alone (R2*-QSM)."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.separation.chi_separation import chi_separation
from qsmxt_app.qsm.separation.result import SeparatedSources


def r2star_qsm(
    chi: NDArray,
    mask: NDArray,
    *,
    r2star: NDArray,
    relaxivity: float,
    magnitude: NDArray,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    reversible_share: float = 0.5,
    threads: int | None = None,
) -> SeparatedSources:
    """Take R2' for a constant share of R2*, and separate as :func:`chi_separation` does.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm, relative to water.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    r2star : ndarray (x, y, z)
        1/s.
    relaxivity
        R2' of one ppm of sources, 1/s.
    magnitude, voxel_size, b0_direction, threads
        As for :func:`chi_separation`.
    reversible_share
        R2' over R2*.

    Returns
    -------
    SeparatedSources

    References
    ----------
    Dimov AV, Gillen KM, Nguyen TD, et al. Tomography 8:1544-1551 (2022). doi:10.3390/tomography8030127
    """
    return chi_separation(
        chi,
        mask,
        r2prime=reversible_share * r2star,
        relaxivity=relaxivity,
        magnitude=magnitude,
        voxel_size=voxel_size,
        b0_direction=b0_direction,
        threads=threads,
    )


METHOD = Method(
    r2star_qsm,
    phrase="R2*-QSM, in which R2' is a constant share of R2* [@dimov2022]",
    needs=("r2star", "relaxivity", "magnitude", "voxel_size", "b0_direction", "threads"),
    units={"reversible_share": ""},
    papers=(
        Reference(
            key="dimov2022",
            short="Dimov et al., 2022",
            authors=(
                "Dimov, Alexey V.",
                "Gillen, Kelly M.",
                "Nguyen, Thanh D.",
                "Kang, Jerry",
                "Sharma, Ria",
                "Pitt, David",
                "Gauthier, Susan A.",
                "Wang, Yi",
            ),
            title="Magnetic Susceptibility Source Separation Solely from Gradient Echo Data: Histological "
            "Validation",
            journal="Tomography",
            year=2022,
            volume="8",
            pages="1544-1551",
            doi="10.3390/tomography8030127",
        ),
    ),
)
