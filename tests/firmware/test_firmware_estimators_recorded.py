"""Recorded cells, second by second through the chip's quantisation: SOH against the truth."""

import pytest
from estimator_replay import play, table

pytestmark = pytest.mark.shared

# cell, profile, three ages: two cycles running each, clean ones
CASES = [
    ("calce_cs2/CS2_35.npz", (20, 300, 600)),
    ("calce_cs2/CS2_36.npz", (20, 300, 550)),
    ("nasa_pcoe/B0005.npz", (20, 80, 150)),
    ("nasa_pcoe/B0006.npz", (22, 80, 150)),
]


@pytest.mark.parametrize(("name", "ages"), CASES)
def test_soh_of_a_recorded_cell_falls_with_age_and_its_interval_holds_the_truth(
    shared_data, name, ages
):
    rows = []
    for cycle in ages:
        rows += play(shared_data / name, (cycle, cycle + 1), cells_mv=(0, 3, -2))[-1:]
    print(name, table(rows), sep="\n")
    values = [row.soh for row in rows]
    assert values == sorted(values, reverse=True)
    inside = sum(row.lo <= row.truth <= row.hi for row in rows)
    assert inside >= 2
    assert max(abs(row.soh - row.truth) for row in rows) < 0.03


def test_one_board_follows_a_cell_that_fades_fast(shared_data):
    rows = play(shared_data / "nasa_pcoe/B0005.npz", list(range(61, 130, 3)))
    print(table(rows))
    assert all(abs(row.soh - row.truth) < 0.03 for row in rows)
    assert sum(row.lo <= row.truth <= row.hi for row in rows) >= 0.7 * len(rows)


def test_a_sensor_with_offset_and_gain_error_is_still_inside_its_interval(shared_data):
    rows = play(shared_data / "calce_cs2/CS2_36.npz", (200, 201), offset_ma=4.0, gain=1.004)
    print(table(rows))
    assert rows[-1].lo <= rows[-1].truth <= rows[-1].hi
