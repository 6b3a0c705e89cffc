"""One person, scanned straight, with bipolar readouts, and oblique with noise."""

from dataclasses import dataclass

import numpy as np
import pytest

from qsmxt_app.simulate import DigitalSubject, Protocol, simulate_subject
from qsmxt_app.simulate.person import Person, make_person

SEED = 31
TILT = (0.0, float(np.sin(np.pi / 6)), float(np.cos(np.pi / 6)))


@dataclass(frozen=True)
class Scans:
    """Scans of one person; `straight` and `bipolar` are almost free of noise."""

    straight: DigitalSubject
    bipolar: DigitalSubject
    oblique: DigitalSubject


@pytest.fixture(scope="session")
def scans() -> Scans:
    size = (4.0, 4.0, 4.0)
    return Scans(
        straight=simulate_subject(SEED, 1, Protocol(size, snr=1e6)),
        bipolar=simulate_subject(SEED, 1, Protocol(size, snr=1e6, bipolar=True)),
        oblique=simulate_subject(SEED, 1, Protocol(size, snr=40.0, b0_direction=TILT)),
    )


@pytest.fixture(scope="session")
def person() -> Person:
    return make_person(SEED, 1)
