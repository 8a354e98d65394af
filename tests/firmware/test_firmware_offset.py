"""The current sensor's offset: where it is learnt, where not, and that nothing is lost of it."""

import pytest
from charge_rig import CLOSED, Pack
from core_fakes import healthy
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.codes import Switch
from firmware.estimators.estimators import Estimators
from firmware.estimators.offset import CurrentOffset
from firmware.settings import Settings


def board():
    return Settings("T", 4, "nmc", 50000)


def watched(offset, ua, seconds, switches=0, start_s=0):
    """A sensor that sees ``ua`` for so many seconds; what is left of it after correction, uAh."""
    snapshot = healthy(4)
    snapshot.switches = switches
    total = left = counted = 0
    for second in range(seconds):
        total += ua
        snapshot.delta_uah = total // 3600 - counted
        counted += snapshot.delta_uah
        offset.watch(snapshot, start_s + second)
        left += snapshot.delta_uah - offset.uah(1000)
    return left


def test_nothing_is_assumed_before_it_was_seen():
    offset = CurrentOffset(board())
    assert offset.bias_ua == 0
    assert offset.at_s == -1
    assert offset.sigma_ua == 5000  # 2.5 uV across 0.5 mohm


def test_it_is_learnt_within_minutes_while_nothing_can_flow():
    offset = CurrentOffset(board())
    watched(offset, 4300, 600)
    assert offset.bias_ua == pytest.approx(4300, abs=2 * offset.sigma_ua)
    assert offset.bias_ua == pytest.approx(4300, abs=60)
    assert offset.sigma_ua == 500


@pytest.mark.parametrize("switch", [1, 2, 4, 8])
def test_one_closed_switch_is_enough_to_learn_nothing(switch):
    offset = CurrentOffset(board())
    watched(offset, 4300, 600, switch)
    assert (offset.bias_ua, offset.at_s) == (0, -1)


def test_what_no_offset_can_be_is_a_current():
    offset = CurrentOffset(board())
    watched(offset, -25000, 600)
    assert (offset.bias_ua, offset.at_s) == (0, -1)


def test_the_cycle_in_which_the_switches_opened_does_not_count():
    offset = CurrentOffset(board())
    snapshot = healthy(4)
    snapshot.switches = CLOSED
    offset.watch(snapshot, 0)
    snapshot.switches = 0
    snapshot.delta_uah = 150  # of the load that was just cut off
    offset.watch(snapshot, 1)
    snapshot.delta_uah = 0
    for second in range(200):
        offset.watch(snapshot, second)
    assert offset.bias_ua == 0
    assert offset.at_s > 0


@given(st.integers(-19000, 19000), st.lists(st.integers(100, 90000), min_size=1, max_size=60))
@hypothesis_settings(max_examples=60)
def test_what_is_taken_out_is_exact_whatever_the_cycles_are(bias_ua, steps_ms):
    offset = CurrentOffset(board())
    offset.bias_ua = bias_ua
    taken = sum(offset.uah(dt_ms) for dt_ms in steps_ms)
    assert taken == bias_ua * sum(steps_ms) // 3600000


def test_ten_days_of_a_known_offset_leave_no_charge():
    offset = CurrentOffset(board())
    watched(offset, 5000, 3600)
    offset.bias_ua = 5000
    left = watched(offset, 5000, 864000 // 8, CLOSED, 3600)
    assert abs(left) <= 1


def test_what_was_learnt_is_less_sure_later_and_warmer():
    offset = CurrentOffset(board())
    watched(offset, 4000, 300)
    sure = offset.sigma_ua
    offset.age(300, 300 + 86400)
    later = offset.sigma_ua
    offset.age(550, 300 + 86400)
    warmer = offset.sigma_ua
    assert sure < later < warmer <= 5000
    offset.age(300, 300 + 86400)
    assert offset.sigma_ua == later


def test_the_doubt_grows_more_slowly_once_the_offset_is_known():
    known, unknown = CurrentOffset(board()), CurrentOffset(board())
    watched(known, 4000, 300)
    before = known.doubt.since(0, 0)
    watched(known, 4000, 7200, CLOSED, 300)
    watched(unknown, 4000, 7200, CLOSED)
    # what no sensor sees is left: 2 % of 50 Ah a month is 1.4 mA
    assert known.doubt.since(0, 0) - before < 0.35 * unknown.doubt.since(0, 0)


def test_every_estimator_sees_the_corrected_charge_and_the_snapshot_stays_as_measured():
    estimators = Estimators(board())
    snapshot = healthy(4)
    snapshot.current_ma = 4
    for second in range(7200):
        snapshot.switches = 0 if second < 600 else CLOSED
        snapshot.delta_uah = 4000 * (second + 1) // 3600 - 4000 * second // 3600
        estimators.update(snapshot)
    seen_uah = 4000 * 7200 // 3600
    assert estimators.offset.bias_ua == pytest.approx(4000, abs=60)
    assert estimators.charge.since(0, 0) < 0.15 * seen_uah / 1000
    assert estimators.lifetime.words[0] == 0
    assert estimators.lifetime.rest[0] < 0.15 * seen_uah
    assert snapshot.current_ma == 4


def test_a_pack_that_draws_with_open_switches_teaches_no_offset():
    pack = Pack("nmc", n=4, offset_ma=0.0)
    pack.switches = 0
    for _ in range(60):
        pack.step(-5.0)
    assert pack.estimators.offset.at_s == -1


def test_a_small_load_with_closed_switches_is_not_learnt_away():
    pack = Pack("nmc", n=4, offset_ma=0.0, dt_s=120.0)
    for _ in range(720 * 3):
        pack.step(-0.004)
    offset = pack.estimators.offset
    assert -2 * offset.sigma_ua <= offset.bias_ua <= 2 * offset.sigma_ua
    assert offset.sigma_ua > 1000


def test_a_long_rest_with_closed_switches_teaches_what_the_voltage_allows():
    pack = Pack("nmc", n=4, offset_ma=8.0, dt_s=120.0, leaky=1.0)
    pack.rest(24 * 3)
    energy = pack.energy()
    assert energy["IOffLo"] <= 0.008 <= energy["IOffHi"]
    assert energy["IOff"] > 0.004
    assert energy["IOffHi"] - energy["IOffLo"] > 0.004  # self-discharge looks the same
    assert energy["IOffAge"] < 86400 * 2


def test_the_offset_is_published_with_interval_and_age():
    pack = Pack("nmc", n=4, offset_ma=-3.0)
    energy = pack.energy()
    assert energy["IOff"] is energy["IOffLo"] is energy["IOffHi"] is energy["IOffAge"] is None
    pack.switches = 0
    pack.rest(0.5)
    pack.switches = Switch.DISCHARGE
    pack.rest(0.5)
    energy = pack.energy()
    assert energy["IOff"] == pytest.approx(-0.003, abs=0.0001)
    assert energy["IOffLo"] == pytest.approx(energy["IOff"] - 0.001, abs=0.0002)
    assert energy["IOffHi"] == pytest.approx(energy["IOff"] + 0.001, abs=0.0002)
    assert energy["IOffAge"] == pytest.approx(1800, abs=120)


def test_the_offset_survives_a_restart():
    pack = Pack("nmc", n=4, offset_ma=-3.0)
    pack.switches = 0
    pack.rest(0.5)
    before = pack.estimators.offset
    after = Estimators(pack.settings)
    assert after.restore(pack.estimators.state())
    assert after.offset.bias_ua == before.bias_ua
    assert after.offset.sigma_ua >= before.sigma_ua - 1
    assert after.offset.at_s == before.at_s
