"""Compiled loops that threads share."""

import numpy as np
import pytest

from qsmxt_app.qsm import threads
from qsmxt_app.qsm.threads import PARTS, threaded


@threaded()
def count(first, last, times, ends):
    for i in range(first, last):
        times[i] += 1
    ends[first] = last


@pytest.mark.parametrize("length", [0, 1, PARTS - 1, PARTS, 10 * PARTS + 3])
def test_every_index_is_visited_once_in_the_same_parts_by_any_number_of_threads(monkeypatch, length):
    parts = []
    for number in (1, 3):
        monkeypatch.setattr(threads, "get_num_threads", lambda number=number: number)
        times, ends = np.zeros(length, int), np.zeros(length, int)
        count(length, times, ends)
        assert (times == 1).all()
        parts.append(ends)
    np.testing.assert_array_equal(*parts)
    assert np.count_nonzero(parts[0]) <= PARTS
