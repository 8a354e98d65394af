"""The ablation cuts what it says, and nothing that ships."""

import ablation
import numpy as np
import pytest

from firmware.tools import fit_windows


def test_a_cut_feature_has_no_coefficient_and_no_say_in_the_uncertainty():
    rng = np.random.default_rng(1)
    a, b, degrees = (
        rng.uniform(0.2, 0.4, 200),
        rng.uniform(0.1, 0.3, 200),
        rng.uniform(20, 40, 200),
    )
    y = 0.5 + a + 0.5 * b
    rows = (a, b, degrees, y, np.ones(200))
    whole = fit_windows._Fit(*rows)
    cut = ablation._without(2, 4, 5)(*rows)
    assert (cut.k[[2, 4, 5]] == 0).all()
    assert cut.leverage(a, b, degrees) == pytest.approx(cut.leverage(a, b[::-1], degrees))
    of_whole = np.std(whole.x(a, b, degrees) @ whole.k - y)
    assert np.std(cut.x(a, b, degrees) @ cut.k - y) > 5 * of_whole


def test_the_cut_ends_with_the_block():
    before = fit_windows._Fit
    with ablation._cut(ablation._without(6), fit_windows._candidates):
        assert fit_windows._Fit is not before
    assert fit_windows._Fit is before


@pytest.mark.shared
def test_resistance_alone_tells_little(shared_data):
    figure = ablation.resistance(shared_data / "calce_cs2")
    assert figure.endswith(" SOH points")
    assert float(figure.split()[0]) > 3
