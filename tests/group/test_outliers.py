import numpy as np

from qsmxt_app.group.outliers import LIMIT, modified_z_scores


def test_normal_values_score_as_standard_deviations() -> None:
    values = np.random.default_rng(0).normal(10, 2, 20000)
    scores = modified_z_scores(values)
    np.testing.assert_allclose(scores.std(), 1, rtol=0.03)
    np.testing.assert_allclose(scores, (values - 10) / 2, atol=0.15)


def test_one_wild_value_does_not_hide_itself() -> None:
    scores = modified_z_scores([1.0, 1.1, 0.9, 1.05, 50.0])
    assert (np.abs(scores) > LIMIT).tolist() == [False, False, False, False, True]


def test_few_or_equal_values_have_no_outlier() -> None:
    assert not modified_z_scores([0.0, 0.0, 0.0, 100.0]).any()
    assert not modified_z_scores([2.0] * 9).any()
    assert modified_z_scores([2.0] * 9 + [3.0])[-1] > LIMIT
