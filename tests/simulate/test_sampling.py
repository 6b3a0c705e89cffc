import os

import numpy as np

from qsmxt_app.simulate.sampling import in_slabs


def test_slabs_cover_each_plane_once_also_where_a_process_has_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    seen = np.zeros(19, int)

    def work(first, last):
        seen[first:last] += 1

    in_slabs(19, work)
    assert np.array_equal(seen, np.ones(19))
