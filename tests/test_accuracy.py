"""The promise of the product: the real command, from raw phase with its own mask, against the truth.

The bounds lie between the accuracy that was asked for (45 %, 0.62) and what other simulated people reach;
the seed is used nowhere else.
"""

import pytest

from benchmarks.accuracy import Case, run_case, run_simulated
from benchmarks.scans import Scan

SEED = 20_261
# what has no part in the map or its error
QUICK = ("--no-swi", "--report-volumes", "none")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folders = {direction: tmp_path_factory.mktemp(direction) for direction in ("straight", "tilted")}
    scans = {direction: Scan(SEED, direction, voxel_size=(2.0, 2.0, 2.0)) for direction in folders}
    found = {
        direction: run_case(Case(scan, options=QUICK), folders[direction])
        for direction, scan in scans.items()
    }
    found["consensus"] = run_simulated(
        Case(scans["straight"], "consensus", options=QUICK), folders["straight"]
    )
    return found


@pytest.mark.parametrize("direction", ["straight", "tilted"])
def test_map_is_as_close_to_the_truth_as_promised(outcomes, direction):
    score = outcomes[direction].score
    assert score.coverage > 0.98
    assert score.xsim > 0.7
    assert 0.9 < score.deep_grey_slope < 1.1


@pytest.mark.parametrize("direction", ["straight", "tilted"])
def test_error_over_the_whole_brain_is_as_small_as_promised(outcomes, direction):
    assert outcomes[direction].score.nrmse < 42


@pytest.mark.parametrize("direction", ["straight", "tilted"])
def test_the_error_is_as_large_as_the_map_of_it_says(outcomes, direction):
    assert 0.8 < outcomes[direction].error_spread < 1.3


def test_deep_grey_nuclei_have_the_same_values_in_an_oblique_scan(outcomes):
    straight, tilted = (outcomes[direction].score.deep_grey_bias for direction in ("straight", "tilted"))
    for nucleus, bias in straight.items():
        assert tilted[nucleus] == pytest.approx(bias, abs=0.02), nucleus


def test_background_removal_and_inversion_are_as_close_to_the_truth_as_promised(outcomes):
    score = outcomes["consensus"].score
    assert score.nrmse < 50
    assert score.coverage > 0.98
    assert 0.85 < score.deep_grey_slope < 1.15
