"""A run that is interrupted ends at once, says so, and goes on from there to the same result."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from mini_dataset import write_mini_dataset

# SIGINT may be ignored where the tests run, and would stay so in their children
HEED_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def started(raw, out):
    """A run that goes on while the block does; its pipe is closed after it."""
    command = [sys.executable, "-c", HEED_SIGINT, "-m", "qsmxt_app", str(raw), str(out), "participant"]
    command += ["--skip-bids-validation", "--no-two-pass", "--no-swi", "--no-chi-noise", "--tgv-iterations"]
    command += ["20", "-v", "--work-dir", str(out.parent / "work")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield process


def images(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.glob("sub-*/*/*.nii.gz"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    raw = write_mini_dataset(folder / "raw", echoes=2)
    with started(raw, folder / "out") as process:
        process.communicate(timeout=300)
        assert process.returncode == 0
    return raw, images(folder / "out")


def test_a_stopped_run_goes_on_to_the_same_result(undisturbed, tmp_path):
    """It is stopped three times, each time by another signal and in a later step."""
    raw, expected = undisturbed
    for number, code, word, moment in (
        (signal.SIGINT, 130, "interrupted", "prepare done"),
        (signal.SIGTERM, 143, "terminated", "masks started"),
        (signal.SIGKILL, -signal.SIGKILL, "", "field started"),
    ):
        with started(raw, tmp_path / "out") as process:
            for line in process.stderr:
                if moment in line:
                    break
            process.send_signal(number)
            sent = time.monotonic()
            rest = process.stderr.read()
            assert process.wait(timeout=60) == code
            assert time.monotonic() - sent < 15
        assert word in rest
        assert "Traceback" not in rest

    with started(raw, tmp_path / "out") as again:
        _, told = again.communicate(timeout=300)
        assert again.returncode == 0
    assert "prepare started" not in told
    assert images(tmp_path / "out") == expected
