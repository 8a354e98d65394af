"""The self-discharge of the mean cell: from long rests, and refused with a reason elsewhere."""

import pytest
from charge_rig import CLOSED, Pack

from common.codes import Refusal
from firmware.estimators.estimators import Estimators


def test_with_open_switches_a_week_tells_the_loss_of_the_mean_cell():
    pack = Pack("nmc", dt_s=120.0)
    pack.switches = 0
    pack.rest(24 * 7)
    assert not pack.wrong()
    energy = pack.energy()
    truth = pack.losses_bp_month()[0] / 100
    assert 0 < energy["SelfDisLo"] <= truth <= energy["SelfDisHi"]
    assert energy["SelfDisHi"] - energy["SelfDisLo"] < 6
    assert energy["SelfAge"] <= 21600


def test_several_rests_are_combined_and_the_table_s_slope_is_not_averaged_away():
    pack = Pack("nmc", dt_s=120.0)
    pack.switches = 0
    widths = []
    for _ in range(4):
        pack.switches = 0
        pack.rest(24 * 5)
        pack.switches = CLOSED
        pack.discharge(0.2, 0.2)
        figure = pack.estimators.self_discharge.figure()
        if figure is not None:
            widths.append(figure[2] - figure[1])
            assert figure[1] <= pack.losses_bp_month()[0] <= figure[2]
    assert len(widths) >= 3
    assert widths[-1] < widths[0]
    assert widths[-1] > 0.3 * figure[0]


def test_a_day_is_too_short():
    pack = Pack("nmc", dt_s=120.0, leaky=1.0)
    pack.switches = 0
    pack.rest(32)
    energy = pack.energy()
    assert energy["SelfDis"] is energy["SelfDisLo"] is energy["SelfDisHi"] is None
    assert energy["SelfRef"] == Refusal.TOO_SHORT
    assert energy["SelfAge"] is not None


def test_a_pack_that_never_rests_is_told_nothing():
    pack = Pack("nmc", dt_s=120.0)
    for _ in range(10):
        pack.discharge(0.1, 2)
        pack.rest(4)
    assert pack.energy()["SelfDis"] is None
    assert pack.estimators.self_discharge.at_s == -1


def test_closed_switches_and_an_unknown_offset_are_refused_for_the_offset():
    pack = Pack("nmc", dt_s=120.0)
    pack.rest(24 * 2)
    energy = pack.energy()
    assert energy["SelfDis"] is None
    assert energy["SelfRef"] == Refusal.OFFSET


def test_closed_switches_do_once_the_offset_was_learnt():
    pack = Pack("nmc", dt_s=120.0, leaky=2.0)
    pack.switches = 0
    pack.rest(1)
    pack.switches = CLOSED
    pack.discharge(0.2, 0.2)
    pack.rest(24 * 7)
    assert not pack.wrong()
    figure = pack.estimators.self_discharge.figure()
    assert figure is not None
    assert figure[1] > 0


def test_a_load_that_was_seen_is_not_a_loss():
    pack = Pack("nmc", dt_s=120.0)
    pack.switches = 0
    pack.rest(1)
    pack.switches = CLOSED
    for _ in range(30 * 24 * 7):
        pack.step(-0.010)
    assert not pack.wrong()


def test_a_warmer_day_tells_nothing():
    pack = Pack("nmc", dt_s=120.0)
    pack.switches = 0
    pack.rest(24)
    pack.cells.temperature_c += 30
    take = pack.estimators.update
    pack.estimators.update = lambda s: (setattr(s, "min_dc", 400), take(s))
    pack.rest(12)
    assert pack.energy()["SelfRef"] == Refusal.TEMPERATURE


def test_what_is_known_survives_a_restart_with_its_age():
    pack = Pack("nmc", dt_s=120.0)
    pack.switches = 0
    pack.rest(24 * 5)
    before = pack.estimators.self_discharge
    after = Estimators(pack.settings)
    assert after.restore(pack.estimators.state())
    assert after.self_discharge.figure() == pytest.approx(before.figure(), rel=1e-5)
    assert after.self_discharge.at_s == before.at_s
    assert after.self_discharge.refusal == Refusal.NONE
