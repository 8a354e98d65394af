"""What the chip said on the desk is enough for the firmware to live through it again."""

import gc
import re
import time

import cycle_share
import firmware_cycles
import pytest


def clock_us() -> int:
    return time.perf_counter_ns() // 1000 & 0xFFFFFFFF


@pytest.fixture(scope="module")
def session():
    yield cycle_share.record()
    gc.unfreeze()  # the rig froze it: the firmware collects every cycle


def test_a_recorded_session_replays_to_its_end(session, capsys):
    firmware_cycles.main(session, clock_us)
    rows = cycle_share.rows(capsys.readouterr().out)
    assert [row["cycle"] for row in rows] == list(range(1, cycle_share.CYCLES + 1))
    parts = ("measure", "guard", "estimate", "image", "serve", "garbage")
    assert all(row[part] > 0 for row in rows for part in parts)


def test_the_replay_ends_where_the_firmware_asks_for_something_else(session):
    reads = session.READS
    changed = type(session)(**{**vars(session), "READS": bytes([reads[0] ^ 1]) + reads[1:]})
    with pytest.raises(firmware_cycles.StrayedError, match=re.escape(f"({reads[0]}, ")):
        firmware_cycles.main(changed, clock_us)


@pytest.mark.parametrize("end", ["2 96 0", "0 96 1", "0 0 0"])
def test_a_replay_with_reads_left_over_or_requests_refused_is_no_result(end):
    with pytest.raises(ValueError, match="bytes left"):
        cycle_share.rows(f"tasks measure\ncycle 1 9 1 5 17460 141\nend {end}")


def test_the_dearest_update_of_a_day_stands_in_for_the_cycles_own():
    parts = {"garbage": 10, "estimate": 5, "store": 1, "loop": 4, "i2c_us": 0, "line_bytes": 0}
    rows = [
        {"cycle": 1, "all": 900, **parts},  # the chip is configured
        {"cycle": 2, "all": 20, **parts},
        {"cycle": 3, "all": 30, **parts},
        {"cycle": firmware_cycles.SAVES_AT, "all": 800, **parts},
    ]
    assert cycle_share.report(rows, 7) == pytest.approx(cycle_share.percent(32))
    assert cycle_share.report(rows, 3) == pytest.approx(cycle_share.percent(30))
