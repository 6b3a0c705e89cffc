import numpy as np

from qsmxt_app.group.majority_vote import majority_vote


def test_agrees_with_counting() -> None:
    labels = np.random.default_rng(4).integers(0, 4, (9, 6, 5, 4)).astype(np.int32)
    counts = np.stack([(labels == label).sum(axis=0) for label in range(4)])
    np.testing.assert_array_equal(majority_vote(labels), counts.argmax(axis=0))


def test_one_scan_decides_alone() -> None:
    labels = np.array([[3, 0, 2]], dtype=np.int32)
    np.testing.assert_array_equal(majority_vote(labels), labels[0])
