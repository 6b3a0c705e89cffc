import os
import signal

import pytest

from qsmxt_app.stopping import Terminated, obey_stop_signals, stop_signals


class Dropped:
    """What is raised while it is removed is lost."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # the handler runs here
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_whose_exception_was_lost_is_obeyed(number, error):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_signals():
            obey_stop_signals()
            Dropped(number)
            with pytest.raises(error):
                obey_stop_signals()
        obey_stop_signals()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGINT)
            obey_stop_signals()
    finally:
        signal.signal(signal.SIGINT, before)
