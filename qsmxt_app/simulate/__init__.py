"""Digital subjects: anatomy, susceptibility, field and complex multi-echo signal, with their truth."""

# as that of `typing`, which `python -m qsmxt_app.simulate` must not import before it has prepared itself
TYPE_CHECKING = False
if TYPE_CHECKING:
    from qsmxt_app.simulate.receive import OddPhase
    from qsmxt_app.simulate.subject import (
        DEEP_GREY_NUCLEI,
        DigitalSubject,
        Protocol,
        Truth,
        simulate_subject,
    )

__all__ = ["DEEP_GREY_NUCLEI", "DigitalSubject", "OddPhase", "Protocol", "Truth", "simulate_subject"]


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qsmxt_app.simulate import receive, subject

    return getattr(receive if name == "OddPhase" else subject, name)
