"""Digital subjects: anatomy, susceptibility, field and complex multi-echo signal, with their truth."""

from qsmxt_app.simulate.receive import OddPhase
from qsmxt_app.simulate.subject import (
    DEEP_GREY_NUCLEI,
    DigitalSubject,
    Protocol,
    Truth,
    simulate_subject,
)

__all__ = ["DEEP_GREY_NUCLEI", "DigitalSubject", "OddPhase", "Protocol", "Truth", "simulate_subject"]
