"""How cores and memory of a machine are divided, and how what a step needs is told."""

import pytest

from qsmxt_app.config import load_settings
from qsmxt_app.workflows import machine_share
from qsmxt_app.workflows.machine_share import CLUSTER_CORES, MOST_THREADS, SHARE_OF_MEMORY, share_machine
from qsmxt_app.workflows.step_needs import WORKER_GB, Estimate, expected_seconds, memory_gb, need_of


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Sixteen cores and 100 GB."""
    monkeypatch.setattr(machine_share, "available_cpus", lambda: 16)
    monkeypatch.setattr(machine_share, "available_memory_gb", lambda: 100.0)


def shared(scans, **flags):
    return share_machine(load_settings({name: str(value) for name, value in flags.items()}), scans)


@pytest.mark.parametrize(
    ("scans", "flags", "threads"),
    [
        (0, {}, MOST_THREADS),
        (1, {}, MOST_THREADS),
        (4, {}, 4),
        (5, {}, 3),
        (100, {}, 1),
        (2, {"n_cpus": 6}, 3),
        (4, {"omp_nthreads": 7}, 7),
        (4, {"omp_nthreads": 7, "n_cpus": 2}, 2),
    ],
)
def test_many_scans_get_one_core_each_and_few_get_more(scans, flags, threads):
    share = shared(scans, **flags)
    assert share.threads == threads
    assert share.n_cpus == flags.get("n_cpus", 16)


def test_a_share_of_memory_is_planned_for_and_all_of_it_may_be_used():
    share = shared(1)
    assert share.memory_gb == pytest.approx(SHARE_OF_MEMORY * 100)
    assert share.memory_limit_gb == pytest.approx(100)


@pytest.mark.parametrize(("asked", "given"), [(40, 40), (400, 100)])
def test_memory_that_the_user_names_is_a_limit_that_no_machine_exceeds(asked, given):
    share = shared(1, mem_gb=asked)
    assert share.memory_gb == share.memory_limit_gb == given


def test_steps_that_are_jobs_have_cores_of_their_own_and_no_limit_here():
    share = shared(100, nipype_plugin="SLURM")
    assert (share.n_cpus, share.threads, share.memory_limit_gb) == (CLUSTER_CORES, CLUSTER_CORES, None)
    assert shared(100, nipype_plugin="SLURM", n_cpus=2).threads == 2


def test_memory_of_a_step_is_that_of_its_voxels_and_of_its_process():
    need = need_of("field")
    voxels, echoes = 2_000_000, 5
    image = voxels * (need.bytes_per_voxel + echoes * need.bytes_per_voxel_and_echo) / 1e9
    assert memory_gb("field", voxels, echoes) == pytest.approx(WORKER_GB + image)
    assert memory_gb("label_t1w", 1000, 1) == need_of("label_t1w").least_gb
    assert need_of("tgv_reliable") == need_of("tgv")
    assert expected_seconds("field", voxels) == pytest.approx(2 * need.cost)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 10 s"), (86, "about 90 s"), (5340, "about 89 min"), (5400, "about 1.5 h")],
)
def test_an_estimate_is_told_in_minutes_and_then_in_hours(seconds, words):
    assert words in Estimate(1.24, seconds).text
    assert "1.2 GB" in Estimate(1.24, seconds).text
