"""Calibrations fitted to points: errors that were put in come out, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calibrating import Calibration, Point, Readings, fit
from gateway.errors import UserError

N = 4
NONE = Calibration(0.0, 0.0, 0.0, 0.0, [0.0] * 4, [0.0] * N)


def point(board: Readings, reference: Readings) -> Point:
    return Point("P", "2026-01-01T00:00:00Z", board, reference)


def wrong(true: Readings, needed: Calibration) -> Readings:
    """What a board that needs a calibration measures of the truth."""
    return needed.undo(true)


def truth(volt: float, amps: float, celsius: float = 25.0) -> Readings:
    return Readings([volt + 0.01 * k for k in range(N)], N * volt, amps, [celsius] * 4)


needs = st.builds(
    Calibration,
    st.floats(-0.3, 0.3), st.floats(-1, 1), st.floats(-2, 2), st.floats(-0.5, 0.5),
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    st.lists(st.floats(-0.015, 0.015), min_size=N, max_size=N),
)  # fmt: skip


@given(needs)
def test_points_far_apart_tell_gains_from_offsets(needed: Calibration) -> None:
    truths = [truth(3.0, -20.0), truth(3.6, 0.0), truth(4.1, 10.0)]
    made = fit([point(wrong(each, needed), each) for each in truths], N, NONE)
    assert made.cell_gain_pct == pytest.approx(needed.cell_gain_pct, abs=1e-6)
    assert made.cell_offset_v == pytest.approx(needed.cell_offset_v, abs=1e-7)
    assert made.stack_gain_pct == pytest.approx(needed.stack_gain_pct, abs=1e-6)
    assert made.current_gain_pct == pytest.approx(needed.current_gain_pct, abs=1e-6)
    assert made.current_offset_a == pytest.approx(needed.current_offset_a, abs=1e-6)
    assert made.temp_offset_c == pytest.approx(needed.temp_offset_c, abs=1e-6)


@given(needs, needs)
def test_points_of_a_calibrated_board_give_the_same(
    needed: Calibration, first: Calibration
) -> None:
    """The board's side is noted as if it had no calibration."""
    raw = wrong(truth(3.7, 12.0), needed)
    seen = Readings(  # what it shows, calibrated
        [
            v * (1 + first.cell_gain_pct / 100) + o
            for v, o in zip(raw.cell_v, first.cell_offset_v, strict=True)
        ],
        raw.stack_v * (1 + first.stack_gain_pct / 100),
        raw.current_a * (1 + first.current_gain_pct / 100) + first.current_offset_a,
        [c + o for c, o in zip(raw.temp_c, first.temp_offset_c, strict=True)],
    )
    back = first.undo(seen)
    assert back.cell_v == pytest.approx(raw.cell_v)
    assert (back.stack_v, back.current_a) == pytest.approx((raw.stack_v, raw.current_a))
    assert back.temp_c == pytest.approx(raw.temp_c)


def test_one_point_gives_a_voltage_an_offset_alone() -> None:
    board = Readings([3.70, 3.71, 3.69, 3.70], 14.7, None, [None] * 4)
    made = fit([point(board, Readings([3.705, 3.705, 3.705, None]))], N, NONE)
    assert made.cell_gain_pct == 0.0
    assert made.cell_offset_v == pytest.approx([0.005, -0.005, 0.015, 0.0])


def test_without_current_only_its_offset_is_told_and_with_one_only_its_gain() -> None:
    before = Calibration(0.0, 0.0, 1.0, 0.1, [0.0] * 4, [0.0] * N)
    still = fit([point(Readings([], None, -0.2, [None] * 4), Readings([], None, 0.0))], N, before)
    assert (still.current_gain_pct, still.current_offset_a) == pytest.approx((1.0, 0.202))
    flows = fit([point(Readings([], None, 9.8, [None] * 4), Readings([], None, 10.1))], N, before)
    assert flows.current_offset_a == 0.1
    assert flows.current_gain_pct == pytest.approx(100 * (10.0 / 9.8 - 1))


def test_what_has_no_reference_stays_as_it_is() -> None:
    before = Calibration(0.1, 0.2, 0.3, 0.4, [1.0, 2.0, 3.0, 4.0], [0.001, 0.002, 0.003, 0.004])
    board = Readings([3.7] * N, 14.8, 1.0, [25.0, None, None, None])
    made = fit([point(board, Readings([], None, None, [24.0] * 4))], N, before)
    assert made == Calibration(
        0.1, 0.2, 0.3, 0.4, [-1.0, 2.0, 3.0, 4.0], [0.001, 0.002, 0.003, 0.004]
    )


def test_noise_is_averaged() -> None:
    rng = np.random.default_rng(1)
    points = [
        point(
            Readings([3.7 + rng.normal(0, 0.002)] * N, None, None, [None] * 4),
            Readings([3.705] * N),
        )
        for _ in range(200)
    ]
    assert fit(points, N, NONE).cell_offset_v == pytest.approx([0.005] * N, abs=0.0006)


def test_a_point_goes_through_a_file() -> None:
    made = point(truth(3.7, 1.0), Readings([3.7, None], None, 0.0))
    assert Point.read(made.line(), "points") == made


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", '{"serial": "P", "utc": "", "board": {"x": 1}, "reference": {}}']
)
def test_what_is_no_point_is_told_with_its_place(line: str) -> None:
    with pytest.raises(UserError, match=r"points\.jsonl, line 3: no point"):
        Point.read(line, "points.jsonl, line 3")
