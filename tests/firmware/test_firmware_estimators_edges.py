"""What single estimators do where evidence is thin, odd or missing: they say less, never wrong."""

from types import SimpleNamespace

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures

from common.codes import Method, Refusal, Switch
from firmware.estimators.anchors import FULL, REST, Anchor
from firmware.estimators.charge import Charge
from firmware.estimators.efficiency import Efficiency
from firmware.estimators.energy import Energy
from firmware.estimators.estimators import Estimators
from firmware.estimators.lifetime import (
    COLD,
    CURRENT_0,
    RUN,
    T_MAX,
    T_MIN,
    TEMPERATURE_0,
    Lifetime,
)
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.pulse import PulseModel, PulseSoh, PulseTest, Reason
from firmware.estimators.selfdischarge import SelfDischarge
from firmware.estimators.soc import Soc
from firmware.estimators.soh import Soh
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC

N = 4
RATED_MAH = 10000
HOUR_S = 3600
DAY_S = 24 * HOUR_S


# --- lifetime ---------------------------------------------------------------------------------


def test_minutes_without_a_temperature_are_run_but_neither_hot_nor_cold():
    lifetime = Lifetime(nmc())
    s = healthy()
    set_temperatures(s)
    for _ in range(120):
        lifetime.update(s, None)
    assert lifetime.words[RUN] == 120
    assert not any(lifetime.words[TEMPERATURE_0:CURRENT_0])
    assert (lifetime.words[T_MIN], lifetime.words[T_MAX]) == (0x7FFF, -0x7FFF)
    set_temperatures(s, -300)
    for _ in range(60):
        lifetime.update(s, 5000)
    assert (lifetime.words[T_MIN], lifetime.words[COLD]) == (-300, 60)


# --- energy and efficiency --------------------------------------------------------------------


def stepped(mv_after):
    """A discharge step whose voltage is ``mv_after(second)`` after it."""
    energy = Energy(nmc(), SimpleNamespace())
    s = healthy()
    for _ in range(40):
        energy.update(s)
    s.current_ma = -5000
    for second in range(12):
        set_cells(s, [mv_after(second)] * N)
        energy.update(s)
    return energy


def test_a_step_that_the_voltage_hardly_shows_teaches_no_factor():
    assert stepped(lambda second: 3650 - second).factor_sigma < Energy(nmc(), None).factor_sigma
    for falls in (
        lambda second: 3698 if second < 2 else 3690,  # too little to tell a ratio from
        lambda second: 3750 - second,  # the wrong way: a reading of another time
        lambda second: 3650 - 20 * second,  # the charge has moved the voltage
    ):
        energy = stepped(falls)
        assert energy.factor_sigma == Energy(nmc(), None).factor_sigma


def cycle(efficiency, charge, now_s, up_mv=3800, down_mv=3700, down_after_s=0):
    """Some bins up and the same down again at another voltage, a bin in half an hour."""
    s = healthy()
    for way, mv in ((1, up_mv), (-1, down_mv)):
        set_cells(s, [mv] * N)
        for _ in range(2 * 45 * 10):
            now_s += 180
            s.delta_uah = way * 10000
            charge.add(s.delta_uah)
            efficiency.update(s, charge, now_s)
        now_s += down_after_s
    return now_s


def test_a_way_back_weeks_later_is_of_another_time():
    soon, late = Efficiency(nmc()), Efficiency(nmc())
    cycle(soon, Charge(), 0)
    assert soon.figure()[0] == pytest.approx(3700 / 3800 * 10000, rel=0.005)
    cycle(late, Charge(), 0, down_after_s=14 * DAY_S)
    assert late.figure() is None


# --- health -----------------------------------------------------------------------------------


def anchor(kind, soc_bp, mah, sigma_bp=100):
    made = Anchor(N)
    made.kind = kind
    made.warm = True
    made.mah = mah
    made.mean_bp, made.sigma_bp = float(soc_bp), float(sigma_bp)
    for i in range(N):
        made.soc[i] = soc_bp
        made.sigma[i] = sigma_bp
        made.kinds[i] = kind
    return made


def test_cells_that_are_not_all_known_have_no_spread_and_two_no_weakest_of_them():
    soh = Soh(nmc())
    for i, bp in enumerate((9000, 8800)):
        soh.soh[i] = bp
        soh.method[i] = Method.OCV_SWING
    assert soh.spread() is None
    assert soh.weak_z() is None
    for i in (2, 3):
        soh.soh[i] = 9000 + 100 * i
        soh.method[i] = Method.OCV_SWING
    assert soh.weak_z() > 0
    assert soh.spread()[0] == pytest.approx((9300 - 8800) / 9050 * 10000, rel=0.01)


def test_a_swing_through_which_no_charge_passed_is_a_jump_of_the_voltage():
    soh = Soh(nmc())
    assert not soh.evidence(anchor(FULL, 10000, 0), [anchor(REST, 5000, 0)], HOUR_S)
    assert soh.refusal == Refusal.SOC_JUMP
    assert not any(soh.method)


def test_new_evidence_far_from_the_old_is_weighed_as_if_the_old_were_unsure():
    soh = Soh(nmc())
    rest = anchor(REST, 2000, 0, 30)
    assert soh.evidence(anchor(FULL, 10000, 8000, 30), [rest], HOUR_S)
    before, var = soh.soh[0], soh.var[0]
    soh.opened(2 * HOUR_S)
    assert soh.evidence(anchor(FULL, 10000, 5600, 30), [rest], 2 * HOUR_S)
    assert before == pytest.approx(10000, rel=0.01)
    assert soh.soh[0] < 7600, "the new one wins"
    assert soh.var[0] < 4 * var


# --- pulses -----------------------------------------------------------------------------------


def test_a_test_that_was_not_measured_has_no_figure():
    from common.cells.pulse_lmo_10ah import MODEL_SLOW  # noqa: PLC0415

    judge = PulseSoh(PulseModel(MODEL_SLOW))
    assert not judge.estimate(PulseTest(10000, 3, 2))
    assert (judge.reason, judge.soh_bp) == (Reason.NOT_MEASURED, None)


# --- self-discharge ---------------------------------------------------------------------------


class Rest:
    """A pack that rests; what ``SelfDischarge`` is asked with, and its neighbours."""

    def __init__(self, mv=3700, **changes):
        self.settings = nmc(**changes)
        charge = Charge()
        self.offset = CurrentOffset(self.settings)
        self.soc = Soc(self.settings, charge, self.offset)
        self.loss = SelfDischarge(self.settings, charge, self.offset, self.soc)
        self.s = healthy(N, mv)
        self.mv = float(mv)
        self.now_s = 0

    def go(self, hours, mv_a_day=-2.0, step_s=600):
        for _ in range(round(hours * HOUR_S / step_s)):
            self.now_s += step_s
            self.mv += mv_a_day * step_s / DAY_S
            set_cells(self.s, [round(self.mv)] * N)
            self.loss.update(self.s, self.now_s, self.now_s)
        return self.loss


def test_a_rest_with_open_switches_tells_the_loss():
    loss = Rest().go(24 * 5)
    assert loss.at_s >= 0
    assert loss.rate > 0


def test_a_rest_of_an_unknown_temperature_tells_nothing():
    rest = Rest()
    set_temperatures(rest.s)
    assert rest.s.min_dc == UNKNOWN_DC
    assert rest.go(48).refusal == Refusal.TEMPERATURE
    assert rest.loss.figure() is None


def test_while_cells_are_bled_nobody_looks():
    rest = Rest()
    rest.s.balancing = 1
    assert rest.go(24 * 5).at_s == -1
    assert rest.loss.refusal == Refusal.NO_EVIDENCE


@pytest.mark.parametrize("mv", [2400, 4900])
def test_beyond_the_table_s_ends_a_voltage_tells_no_charge(mv):
    assert Rest(mv).go(48, mv_a_day=0.0).refusal == Refusal.TOO_UNCERTAIN


def test_a_figure_that_stands_is_not_refused_for_a_look_that_says_nothing():
    rest = Rest()
    loss = rest.go(24 * 6)
    assert loss.figure() is not None
    figure = loss.figure()
    set_temperatures(rest.s)
    rest.go(24)
    assert (loss.refusal, loss.figure()) == (Refusal.NONE, figure)


def test_the_loss_that_was_measured_is_not_taken_for_the_sensor_s_offset():
    """Closed switches, an unsure offset: a rest teaches the offset, beyond what is known."""
    fresh, known = Rest(), Rest()
    known.loss.restore(40.0, 1.0, 0, 0)
    learnt = []
    for rest in (fresh, known):
        rest.s.switches = Switch.CHARGE | Switch.DISCHARGE
        rest.go(36, mv_a_day=-8.0)
        assert rest.offset.at_s >= 0
        learnt.append(rest.offset.bias_ua)
    assert learnt[1] < learnt[0]


# --- all together -----------------------------------------------------------------------------


def test_a_doubtful_cycle_breaks_the_charge_that_a_window_watches():
    settings = Settings("T", N, "lco-cs2", RATED_MAH)
    e = Estimators(settings)
    s = healthy(N, 3500)
    s.current_ma, s.delta_uah = RATED_MAH // 2, RATED_MAH * 1000 // 7200
    e.update(s)
    assert e.window._state != 0
    s.valid = False
    e.update(s)
    assert e.window._state == 0


def test_a_board_that_knew_no_charge_knows_none_after_its_restart():
    settings = nmc()
    e = Estimators(settings)
    e.update(healthy())
    again = Estimators(settings)
    assert again.restore(e.state())
    assert again.soc_bp is None
    assert again.now_s == e.now_s


def test_of_cells_that_are_not_all_known_the_first_empty_is_one_that_is():
    e = Estimators(nmc())
    e.soc.known = True
    for i, bp in enumerate((9000, 0, 7000, 9000)):
        if bp:
            e.soh.soh[i] = bp
            e.soh.var[i] = 100.0**2
            e.soh.method[i] = Method.OCV_SWING
    found, _soc_bp, width = e.differences.first_empty(0.0)
    assert found == 2
    assert width > 0
