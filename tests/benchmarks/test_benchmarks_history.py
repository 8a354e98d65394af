"""The history's figures, in short: how fast a gap fills, and how much a reading takes."""

import pytest
from history_fill import fill
from history_size import measure


@pytest.mark.slow
def test_a_gap_fills_at_fifty_records_a_second_and_no_poll_is_late(tmp_path):
    assert fill(tmp_path, days=1.0, board_s=0.03) >= 50


@pytest.mark.slow
def test_two_weeks_of_a_driven_pack_fit(tmp_path):
    per_reading, days = measure(days=0.9, seed=3)
    assert per_reading <= 40
    assert days >= 14
