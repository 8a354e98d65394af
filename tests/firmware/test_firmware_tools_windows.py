"""The choice and the fit of charge windows, on what made-up cells showed."""

import numpy as np
import pytest

from firmware.tools import fit_windows
from firmware.tools.datasets import DataError
from firmware.tools.fit_windows import GRID_MV, Seen

MARKS = len(GRID_MV)


def seen(cells=3, charges=30, noise=0.001, degrees=(25.0, 25.0), per_k=0.0):
    """Charges whose passed charge tells the capacity, and the warmth when ``per_k``."""
    rng = np.random.default_rng(1)
    rows = cells * charges
    made = object.__new__(Seen)
    made.rate_permille, made.full_mv = 500, 4200
    made.group = np.repeat(np.arange(cells), charges)
    made.order = np.tile(np.arange(charges) / charges, cells)
    made.block = np.minimum((made.order * 5).astype(int), 4)
    made.device = np.zeros(rows, int)
    made.cycles = np.tile(np.arange(charges, dtype=float), cells)
    made.y = 1.0 - 0.25 * made.order + 0.01 * made.group
    made.degrees = rng.uniform(*degrees, rows)
    share = (np.arange(MARKS + 1) / MARKS) ** 1.2
    made.at = 0.6 * made.y[:, None] * share + 0.05 * share
    made.at *= 1 + per_k * (made.degrees[:, None] - 25)
    made.at += rng.normal(0, noise, made.at.shape)
    return made


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(fit_windows, "_WIDTHS_MV", (80, 160))
    monkeypatch.setattr(fit_windows, "_TOPS_MV", (4100,))


def fit(made):
    """The chosen windows, and at which marks they begin."""
    table = fit_windows.fit_windows(made)
    marks = table[0]
    return table[-1], [marks[window[0][0]] for window in table[-1]]


def test_the_warmth_has_a_coefficient_where_it_differed():
    (window,), _begin = fit(seen())
    assert window[3][6] == 0.0
    (window,), _begin = fit(seen(degrees=(15.0, 35.0), per_k=0.004))
    assert window[3][6] < -0.005, "warmer, it is the less capacity that lets so much pass"


def test_charges_that_begin_late_get_a_window_of_their_own():
    made = seen()
    late = made.order > 0.85
    made.at[late, :16] = np.nan
    made.at[:, 16:] += np.random.default_rng(2).normal(0, 0.002, (len(late), MARKS - 15))
    windows, (first, second) = fit(made)
    assert first < GRID_MV[16] <= second
    assert windows[1][4] >= windows[0][4], "no fall-back is better than what it stands in for"


def test_a_window_that_would_be_too_wrong_is_not_used():
    made = seen()
    late = made.order > 0.85
    made.at[late, :16] = np.nan
    made.at[:, 16:] += np.random.default_rng(2).normal(0, 0.2, (len(late), MARKS - 15))
    _windows, (first,) = fit(made)
    assert first < GRID_MV[16]


def test_charges_that_pass_no_window_are_left_without_one():
    made = seen()
    made.at[made.order > 0.85] = np.nan
    windows, _begin = fit(made)
    assert len(windows) == 1


def test_a_cell_that_shows_no_mark_teaches_nothing_and_spoils_nothing():
    made = seen(cells=6, charges=20)
    before, _begin = fit(seen(cells=5, charges=20))
    made.at[made.group == 5] = np.nan
    (window,), _begin = fit(made)
    assert window[3] == pytest.approx(before[0][3], abs=0.03)


def test_of_a_single_cell_parts_of_its_life_are_left_out_in_turn():
    made = seen(cells=1, charges=90)
    rows, errors = fit_windows._held_out(made, (2, 6, 25), np.ones(90, bool))
    assert rows.all()
    assert np.isfinite(errors).mean() > 0.5
    assert np.nanmax(np.abs(errors)) < 0.02


def test_where_too_few_charges_were_seen_none_is_judged():
    made = seen(cells=1, charges=20)
    _rows, errors = fit_windows._held_out(made, (2, 6, 25), np.ones(20, bool))
    assert np.isnan(errors).all()
    with pytest.raises(DataError, match="no window is passed by enough"):
        fit(made)


def test_without_an_end_of_charge_no_window_ends_there():
    made = seen()
    made.at[:, -1] = np.nan
    assert all(marks[2] < MARKS for marks in fit_windows._candidates(made))
    fit(made)


def test_errors_that_are_alike_at_all_capacities_get_one_deviation():
    made = seen(cells=2, charges=40)
    errors = np.where(np.arange(80) % 2, 0.01, -0.01)
    assert fit_windows._spread(made, errors) == (1.0, 0.0, 0.0)


def test_a_few_charges_tell_no_motion_and_what_is_common_is_assumed():
    made = seen(cells=2, charges=2)
    errors = np.full(4, 0.01)
    assert fit_windows._motion(made, errors) == (50.0, 20.0)
    assert fit_windows._common(made, errors) == 0.3
    made = seen(cells=2, charges=10)
    assert fit_windows._common(made, np.full(20, 0.01)) == 0.9


def test_a_cell_without_an_error_is_no_part_of_the_judgement():
    made = seen(cells=2, charges=10)
    errors = np.where(made.group == 0, 0.01, np.nan)
    assert fit_windows._judge(made, errors) == pytest.approx(0.01)


def test_errors_grow_from_the_end_that_explains_more_of_them():
    made = seen(cells=1, charges=80)
    share = (made.y - made.y.min()) / np.ptp(made.y)
    errors = 0.004 * np.abs(share - 0.48) * np.where(np.arange(80) % 2, 1, -1)
    _floor, rise, end = fit_windows._spread(made, errors)
    assert rise > 0
    assert end < 0.8, "both ends err, the fresh one a little more: it grows from the worn one"
