import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qsmxt_app.bids import lock
from qsmxt_app.bids.lock import named_lock, participant_lock
from qsmxt_app.errors import CannotCreateOutput, WrongUsage

HOLD = """
import signal, sys, time
from pathlib import Path
from qsmxt_app.bids import lock
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
lock.SILENT_SECONDS, lock.BEAT_SECONDS = map(float, sys.argv[2:])
with lock.participant_lock(Path(sys.argv[1]), "01"):
    print("held", flush=True)
    time.sleep(60)
"""
TRY = """
import sys, time
from pathlib import Path
from qsmxt_app.bids.lock import participant_lock
from qsmxt_app.errors import CannotCreateOutput
print("ready", flush=True)
sys.stdin.readline()
try:
    with participant_lock(Path(sys.argv[1]), "01"):
        print("won", flush=True)
        sys.stdin.readline()
except CannotCreateOutput:
    print("lost", flush=True)
"""


def _start(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.fixture
def hold(tmp_path):
    """Start another process that holds the lock of sub-01."""
    started = []

    def start(silent=lock.SILENT_SECONDS, beat=lock.BEAT_SECONDS):
        started.append(_start(HOLD, tmp_path, silent, beat))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _path(tmp_path):
    return tmp_path / ".locks" / "sub-01.lock"


def _say(path, **changes):
    """Change what a lock says of its holder, as a file of another host would."""
    text = path.read_text()
    for key, value in changes.items():
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
    path.write_text(text)
    return text


def test_a_second_run_stops_and_says_who_holds_it(tmp_path, hold):
    other_run = hold()
    with pytest.raises(CannotCreateOutput) as error, participant_lock(tmp_path, "sub-01"):
        pytest.fail("two runs at once")
    assert error.value.exit_code == 73
    assert f"process {other_run.pid} on {os.uname().nodename}" in str(error.value)
    assert time.strftime("%Y-%m-%d") in str(error.value)
    assert "\n" not in str(error.value)
    assert _path(tmp_path).exists()
    with participant_lock(tmp_path, "02"):
        pass


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_releases_its_lock(tmp_path, hold, ending):
    other_run = hold()
    other_run.send_signal(ending)
    other_run.wait(60)
    assert not _path(tmp_path).exists()


def test_a_killed_runs_lock_is_taken_over(tmp_path, hold):
    other_run = hold()
    other_run.kill()
    other_run.wait(60)
    assert _path(tmp_path).exists()
    with participant_lock(tmp_path, "01"):
        assert f"pid={os.getpid()}\n" in _path(tmp_path).read_text()
    assert not _path(tmp_path).exists()


def test_a_process_of_the_same_number_is_not_taken_for_the_holder(tmp_path, hold):
    other_run = hold()
    other_run.kill()
    other_run.wait(60)
    _say(_path(tmp_path), pid=os.getpid())
    with participant_lock(tmp_path, "01"):
        pass


def test_it_is_released_after_an_exception_and_can_be_taken_again(tmp_path):
    with pytest.raises(KeyError), participant_lock(tmp_path, "01"):
        raise KeyError
    with participant_lock(tmp_path, "01"):
        assert _path(tmp_path).exists()


ELSEWHERE = [{"host": "elsewhere"}, {"host": f"{os.uname().nodename}?pidns-1"}]


@pytest.mark.parametrize("changes", ELSEWHERE)
def test_a_holder_elsewhere_is_dead_when_it_is_silent(tmp_path, hold, changes, monkeypatch):
    monkeypatch.setattr(lock, "SILENT_SECONDS", 0.4)
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.1)
    other_run = hold(0.4, 0.1)
    other_run.kill()
    other_run.wait(60)
    before = _say(_path(tmp_path), pid=2**22 + 1, **changes)
    with participant_lock(tmp_path, "01"):
        assert _path(tmp_path).read_text() != before


@pytest.mark.parametrize("changes", ELSEWHERE)
def test_a_holder_elsewhere_that_gives_signs_is_left_alone(tmp_path, hold, changes, monkeypatch):
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    hold(lock.SILENT_SECONDS, 0.2)
    before = _say(_path(tmp_path), pid=2**22 + 1, **changes)
    said = r"in use by process \d+ on elsewhere|last active"
    with pytest.raises(CannotCreateOutput, match=said), participant_lock(tmp_path, "01"):
        pytest.fail("taken over")
    assert _path(tmp_path).read_text() == before


def test_a_process_whose_lock_was_taken_from_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    told = threading.Event()
    monkeypatch.setattr(os, "kill", lambda pid, number: told.set())
    with participant_lock(tmp_path, "01"):
        path = _path(tmp_path)
        other = path.with_name("other")
        other.write_text(path.read_text().replace("token=", "token=a"))
        other.replace(path)
        assert told.wait(60)
    assert path.exists()


def test_a_living_holder_is_waited_for(tmp_path, hold, monkeypatch):
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.02)
    threading.Timer(0.3, hold().terminate).start()
    with named_lock(tmp_path, "sub-01", patience=60):
        assert f"pid={os.getpid()}\n" in _path(tmp_path).read_text()


@pytest.mark.parametrize("content", ["{}", "\x00"])
def test_a_lock_that_was_torn_when_its_writer_died_is_taken_over(tmp_path, content):
    _path(tmp_path).parent.mkdir()
    _path(tmp_path).write_text(content)
    with participant_lock(tmp_path, "01"):
        assert _path(tmp_path).read_text() != content


def test_where_no_lock_can_be_made(tmp_path):
    (tmp_path / ".locks").touch()
    with pytest.raises(CannotCreateOutput, match="cannot be created"), participant_lock(tmp_path, "01"):
        pytest.fail("not locked")
    with pytest.raises(WrongUsage), participant_lock(tmp_path, "../../01"):
        pytest.fail("out of the folder")


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_start_at_once_one_wins(tmp_path, hold, stale):
    if stale:
        other_run = hold()
        other_run.kill()
        other_run.wait(60)
    runs = [_start(TRY, tmp_path) for _ in range(4)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    ends = [run.stdout.readline() for run in runs]
    for run in runs:
        run.communicate("end\n")
    assert sorted(ends) == ["lost\n"] * 3 + ["won\n"]


@pytest.mark.parametrize("content", ["", "filelock/2\npid=1", "any"])
def test_a_lock_that_a_power_loss_tore_is_taken_over(tmp_path, content):
    path = _path(tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    os.utime(path, (1, 1))
    before = time.monotonic()
    with participant_lock(tmp_path, "01"):
        assert "pid=" in path.read_text()
    assert time.monotonic() - before < lock.SILENT_SECONDS / 2
