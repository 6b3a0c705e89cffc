import pytest

from qsmxt_app.qsm.field_checks import echo_number_warning, noise_warning


@pytest.mark.parametrize(
    ("noise", "edges", "biased"),
    [
        (0.0006, (2, 2, 2), False),
        (0.0070, (2, 2, 2), True),
        (0.0070, (1, 1, 1), False),  # in finer voxels a nucleus has more of them
        (0.0070, (0.7, 0.7, 4.5), False),
        (0.0150, (3, 3, 3), True),
    ],
)
def test_noise_biases_values_by_the_regularisation_that_follows_it(noise, edges, biased):
    found = noise_warning(noise, edges)
    assert bool(found) == biased
    assert all(f"{1e3 * noise:.2g} ppb" in text for text in found)


def test_a_single_echo_is_called_qualitative():
    assert "qualitative" in echo_number_warning(1)[0]
    assert not echo_number_warning(2)
