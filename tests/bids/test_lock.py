import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from qsmxt_app.bids import lock
from qsmxt_app.bids.lock import named_lock, participant_lock
from qsmxt_app.errors import CannotCreateOutput, WrongUsage

HOLD = """
import signal, sys, time
from pathlib import Path
from qsmxt_app.bids.lock import participant_lock
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with participant_lock(Path(sys.argv[1]), "01"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that holds the lock of sub-01."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _path(tmp_path):
    return tmp_path / ".locks" / "sub-01.lock"


def test_a_second_run_stops_and_says_who_holds_it(tmp_path, other_run):
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
def test_a_stopped_run_releases_its_lock(tmp_path, other_run, ending):
    other_run.send_signal(ending)
    other_run.wait(20)
    assert not _path(tmp_path).exists()


def test_a_killed_runs_lock_is_taken_over(tmp_path, other_run):
    other_run.kill()
    other_run.wait(20)
    assert _path(tmp_path).exists()
    with participant_lock(tmp_path, "01"):
        assert json.loads(_path(tmp_path).read_text())["pid"] == os.getpid()
    assert not _path(tmp_path).exists()


def test_it_is_released_after_an_exception_and_can_be_taken_again(tmp_path):
    with pytest.raises(KeyError), participant_lock(tmp_path, "01"):
        raise KeyError
    with participant_lock(tmp_path, "01"):
        assert _path(tmp_path).exists()


def _plant(tmp_path, **changes):
    path = _path(tmp_path)
    path.parent.mkdir(exist_ok=True)
    holder = replace(lock._myself(), **changes)
    path.write_text(json.dumps(asdict(holder)))
    return path


HERE_AND_DEAD = [{"pid": 2**22 + 1}, {"started": "1"}]  # no such process; another one of the same number
ELSEWHERE = [
    {"host": "elsewhere", "pid": 2**22 + 1},
    {"machine": "another", "pid": 2**22 + 1},  # a host of the same name
    {"namespace": "pid:[1]", "pid": 2**22 + 1},  # another container on this host
    {"started": ""},
]


@pytest.mark.parametrize("changes", HERE_AND_DEAD)
def test_a_dead_process_of_this_host_is_followed_at_once(tmp_path, changes, monkeypatch):
    monkeypatch.setattr(lock, "SILENT_SECONDS", 1e9)
    path = _plant(tmp_path, **changes)
    before = path.read_text()
    with participant_lock(tmp_path, "01"):
        assert path.read_text() != before


@pytest.mark.parametrize("changes", ELSEWHERE)
def test_a_holder_elsewhere_is_dead_when_it_is_silent(tmp_path, changes, monkeypatch):
    monkeypatch.setattr(lock, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    path = _plant(tmp_path, **changes)
    before = path.read_text()
    with participant_lock(tmp_path, "01"):
        assert path.read_text() != before


@pytest.mark.parametrize("changes", ELSEWHERE)
def test_a_holder_elsewhere_that_gives_signs_is_left_alone(tmp_path, changes, monkeypatch):
    monkeypatch.setattr(lock, "SILENT_SECONDS", 60)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    path = _plant(tmp_path, **changes)
    before = path.read_text()
    sign = threading.Timer(0.3, os.utime, (path,))
    sign.start()
    with pytest.raises(CannotCreateOutput, match="has been at it"), participant_lock(tmp_path, "01"):
        pytest.fail("taken over")
    sign.join()
    assert path.read_text() == before


def test_the_holder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with participant_lock(tmp_path, "01"):
        os.utime(_path(tmp_path), (1, 1))
        end = time.monotonic() + 20
        while _path(tmp_path).stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_process_whose_lock_was_taken_from_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    told = threading.Event()
    monkeypatch.setattr(os, "kill", lambda pid, number: told.set())
    with participant_lock(tmp_path, "01"):
        path = _plant(tmp_path, host="elsewhere")
        assert told.wait(20)
    assert path.exists()


def test_a_living_holder_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.02)
    path = _plant(tmp_path)
    threading.Timer(0.3, path.unlink).start()
    with named_lock(tmp_path, "sub-01", patience=20):
        assert json.loads(path.read_text())["token"]


def test_a_lock_that_was_taken_over_meanwhile_is_left_alone(tmp_path):
    path = _plant(tmp_path, pid=2**22 + 1)
    dead = _holder(tmp_path)
    _plant(tmp_path)
    lock._remove(path, dead)
    assert path.exists()


def test_locks_from_before_a_reboot(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_content", lambda path: "same" if "machine-id" in path else "now")
    monkeypatch.setattr(lock, "_start_of", lambda pid: "1")
    _plant(tmp_path, boot="before")
    with participant_lock(tmp_path, "01"):
        pass
    monkeypatch.setattr(lock, "_content", lambda path: "" if "machine-id" in path else "now")
    # a host without an id may be another one of the same name
    assert not lock._is_dead(replace(lock._myself(), boot="before"), lock._myself())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"host"', "\x00"])
def test_a_lock_that_cannot_be_understood_is_respected_while_it_changes(tmp_path, content, monkeypatch):
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.02)
    path = _plant(tmp_path)
    path.write_text(content)
    sign = threading.Timer(0.2, os.utime, (path,))
    sign.start()
    with pytest.raises(CannotCreateOutput, match=r"remove .*sub-01\.lock"), participant_lock(tmp_path, "01"):
        pytest.fail("taken over")
    sign.join()
    assert path.read_text() == content
    monkeypatch.setattr(lock, "SILENT_SECONDS", 0.1)  # torn when its writer died
    with participant_lock(tmp_path, "01"):
        assert path.read_text() != content


def test_anothers_lock_is_not_removed_at_the_end(tmp_path):
    with participant_lock(tmp_path, "01"):
        path = _plant(tmp_path, host="elsewhere")
    assert path.exists()


def test_a_forked_child_does_not_release_it(tmp_path):
    with participant_lock(tmp_path, "01"):
        child = multiprocessing.get_context("fork").Process(
            target=lock._release, args=(_path(tmp_path), _holder(tmp_path))
        )
        child.start()
        child.join()
        assert _path(tmp_path).exists()


def _assert_locked(tmp_path):
    with pytest.raises(CannotCreateOutput, match="has been at it"), participant_lock(tmp_path, "01"):
        pytest.fail("two runs at once")


def _holder(tmp_path):
    return lock.Holder(**json.loads(_path(tmp_path).read_text()))


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with participant_lock(tmp_path, "01"):
        _assert_locked(tmp_path)
    assert not _path(tmp_path).exists()


def test_where_no_lock_can_be_made(tmp_path):
    (tmp_path / ".locks").touch()
    with pytest.raises(CannotCreateOutput, match="cannot be created"), participant_lock(tmp_path, "01"):
        pytest.fail("not locked")
    with pytest.raises(WrongUsage), participant_lock(tmp_path, "../../01"):
        pytest.fail("out of the folder")


def _try(out, barrier, winners):
    barrier.wait()
    try:
        with participant_lock(out, "01"):
            with winners.get_lock():
                winners.value += 1
            barrier.wait()  # held until all have tried, however slow the machine
    except CannotCreateOutput:
        barrier.wait()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_start_at_once_one_wins(tmp_path, stale):
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        out = tmp_path / str(attempt)
        out.mkdir()
        if stale:
            _plant(out, pid=2**22 + 1)
        barrier, winners = context.Barrier(6), context.Value("i", 0)
        children = [context.Process(target=_try, args=(out, barrier, winners)) for _ in range(6)]
        for child in children:
            child.start()
        for child in children:
            child.join(30)
        assert winners.value == 1
