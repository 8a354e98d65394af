"""Capacity from charge windows: marks, the end of charge, refusals, and fusing over charges."""

import subprocess
import sys

import pytest

from common.codes import Method, Refusal
from firmware.estimators.soh import Soh
from firmware.estimators.window import ChargeWindow, Window, WindowModel
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

RATED_MAH = 1000
MARKS = (3700, 3800, 4000)
DIAGONAL = tuple(1e-6 if row == column else 0.0 for row in range(7) for column in range(row, 7))


def model(taper=100, windows=None, warm=(200, 300)):
    """C = a + b + 0.4: throughput of the window and what lies outside of it."""
    if windows is None:
        windows = (window((0, 1, 3 if taper else 2)),)
    return WindowModel(MARKS, taper, 500, 4200, warm, 30.0, 40.0, windows)


def window(marks, limit=1.0, s=0.01):
    k = (0.4, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    return Window(marks, (0.0, 0.0, 25.0), (1.0, 1.0, 10.0), k, s, DIAGONAL, limit)


class Charger:
    """Charges one cell whose voltage rises by 1 mV for each ``mah_per_mv``."""

    def __init__(self, watched, mah_per_mv=1.0, temp_dc=250):
        self.watched = watched
        self.s = Snapshot(1)
        self.s.min_dc = self.s.max_dc = temp_dc
        self.mah_per_mv = mah_per_mv
        self.mah = 0.0
        self.whole_uah = 0
        self.mv = 3600.0
        self.ended = False

    def step(self, current_ma, seconds=1, mv=None):
        self.mah += current_ma * seconds / 3600
        self.s.delta_uah = int(self.mah * 1000) - self.whole_uah
        self.whole_uah += self.s.delta_uah
        self.s.current_ma = current_ma
        self.s.dt_ms = 1000 * seconds
        if mv is None:
            self.mv += current_ma * seconds / 3600 / self.mah_per_mv
            mv = self.mv
        self.s.cell_mv[0] = round(mv)
        self.ended = self.watched.update(self.s) or self.ended
        return self.ended

    def constant_current(self, to_mv, current_ma=500, seconds=5):
        while self.mv < to_mv and not self.ended:
            self.step(current_ma, seconds)

    def constant_voltage(self, to_ma=50):
        current_ma = 500
        while current_ma > to_ma and not self.ended:
            current_ma -= 5
            self.step(current_ma, 5, mv=4200)


def test_the_charge_between_marks_is_counted_to_the_milliampere_hour():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(watched)
    charger.constant_current(4200)
    charger.step(0)
    first, second, third = watched.at_uah
    assert second - first == pytest.approx(100_000, abs=1000)
    assert third - second == pytest.approx(200_000, abs=1000)
    capacity, _var, _alone = watched.evidence(0)
    assert capacity == pytest.approx(7000, abs=20)


def test_marks_passed_between_two_samples_are_interpolated():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(watched)
    charger.constant_current(4200, seconds=97)
    charger.step(0)
    assert watched.at_uah[2] - watched.at_uah[0] == pytest.approx(300_000, abs=1500)


def test_the_end_of_charge_is_a_mark_where_the_current_passes_the_taper():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    charger.constant_current(4200)
    charger.constant_voltage()
    assert charger.ended
    assert watched.at_uah[3] / 1000 == pytest.approx(charger.mah, abs=1)


def test_a_pause_between_constant_current_and_voltage_is_no_end_of_charge():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    charger.constant_current(4200)
    for _ in range(24):
        assert not charger.step(0, 5, mv=4150)
    charger.constant_voltage()
    assert charger.ended
    assert watched.evidence(0) is not None


def test_a_charge_broken_off_before_the_taper_tells_nothing_of_a_window_that_ends_there():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    charger.constant_current(4100)
    charger.step(0)
    assert watched.evidence(0) is None
    assert watched.refusal == Refusal.SWING_TOO_SMALL


def test_a_charge_that_begins_above_the_first_mark_leaves_it_to_a_later_window():
    windows = (window((0, 1, 3)), window((1, 2, 3)))
    watched = ChargeWindow(1, RATED_MAH, model(windows=windows))
    charger = Charger(watched)
    charger.mv = 3750.0
    charger.constant_current(4200)
    charger.constant_voltage()
    assert watched.at_uah[0] == -1
    assert watched.evidence(0) is not None


def test_another_rate_is_refused():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(watched)
    charger.constant_current(4200, current_ma=800)
    assert not charger.step(0)
    assert watched.refusal == Refusal.RATE


def test_a_slightly_other_rate_moves_the_edges_by_the_resistance():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    watched.r_uohm = 100_000
    charger = Charger(watched)
    charger.constant_current(4200, current_ma=580)
    charger.step(0)
    # 80 mA more through 0.1 ohm: the mark at 3700 mV is passed at 3708 mV
    assert watched.at_uah[0] / 1000 == pytest.approx(108, abs=1.5)
    as_calibrated = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(as_calibrated)
    charger.constant_current(4200)
    charger.step(0)
    assert watched.evidence(0)[1] > as_calibrated.evidence(0)[1]


@pytest.mark.parametrize("temp_dc", [UNKNOWN_DC, 50, 450])
def test_a_temperature_not_calibrated_for_is_refused(temp_dc):
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched, temp_dc=temp_dc)
    charger.constant_current(4200)
    charger.constant_voltage()
    assert watched.evidence(0) is None
    assert watched.refusal == Refusal.TEMPERATURE


def test_a_few_kelvins_outside_widen_the_interval():
    variances = []
    for temp_dc in (250, 350):
        watched = ChargeWindow(1, RATED_MAH, model())
        charger = Charger(watched, temp_dc=temp_dc)
        charger.constant_current(4200)
        charger.constant_voltage()
        variances.append(watched.evidence(0)[1])
    assert variances[1] - variances[0] > (0.003 * 5 * 10000) ** 2 * 0.9


def test_a_charge_unlike_those_of_the_calibration_is_refused():
    watched = ChargeWindow(1, RATED_MAH, model(windows=(window((0, 1, 3), limit=1e-7),)))
    charger = Charger(watched)
    charger.constant_current(4200)
    charger.constant_voltage()
    assert watched.evidence(0) is None
    assert watched.refusal == Refusal.TOO_UNCERTAIN


def test_a_reading_that_came_too_late_ends_the_charge():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(watched)
    charger.constant_current(3900)
    assert charger.step(500, 700)
    assert watched.at_uah[2] == -1, "what passed meanwhile is at no mark"


def test_a_current_that_still_rises_is_the_begin():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    for current_ma in (300, 400, 500):
        charger.step(current_ma, 5)
    charger.constant_current(4200)
    charger.constant_voltage()
    assert watched.evidence(0) is not None


def test_a_charge_above_all_marks_tells_nothing():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    late = Charger(watched)
    late.mv = 4050.0
    late.constant_current(4100)
    assert not late.step(0)
    assert watched.refusal == Refusal.NO_EVIDENCE


def test_without_a_taper_the_charge_ends_with_its_constant_current():
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    charger = Charger(watched)
    charger.constant_current(4195)
    assert charger.step(400, 5, mv=4200)


def test_a_load_at_the_end_of_the_charge_ends_it_before_its_taper():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    charger.constant_current(4195)
    assert not charger.step(300, 5, mv=4200)
    assert charger.step(-200, 5, mv=4150)
    assert watched.at_uah[3] == -1


def test_a_current_that_breaks_down_passes_no_taper():
    watched = ChargeWindow(1, RATED_MAH, model())
    charger = Charger(watched)
    charger.constant_current(4195)
    charger.step(450, 5, mv=4200)
    assert charger.step(80, 5, mv=4200)  # from more than four times the taper to below it
    assert watched.at_uah[3] == -1


def test_a_cell_that_was_not_full_has_no_taper():
    watched = ChargeWindow(2, RATED_MAH, model())
    s = Snapshot(2)
    s.min_dc = s.max_dc = 250
    s.dt_ms = 5000
    rise = [(500, 3600 + 5 * k) for k in range(121)]
    fall = [(500 - 5 * k, 4200) for k in range(1, 85)]
    for current_ma, mv in rise + fall:
        s.current_ma, s.delta_uah = current_ma, current_ma * 5000 // 3600
        s.cell_mv[0], s.cell_mv[1] = mv, mv - 200
        watched.update(s)
    assert watched.at_uah[3] > 0
    assert watched.at_uah[7] == -1


@pytest.mark.parametrize(("r_uohm", "refused"), [(0, True), (50_000, False)])
def test_a_rate_that_is_a_little_off_needs_a_known_resistance(r_uohm, refused):
    watched = ChargeWindow(1, RATED_MAH, model(taper=0, windows=(window((0, 1, 2)),)))
    watched.r_uohm = r_uohm
    charger = Charger(watched)
    charger.constant_current(4190, current_ma=540)
    charger.step(0)
    assert (watched.refusal == Refusal.RATE) == refused


# --- fusing ---------------------------------------------------------------------------------


def soh():
    return Soh(Settings("w", 3, "lco", RATED_MAH))


def feed(health, value, walk_bp=30.0, cycles=1, var=150.0**2, alone=40.0**2):
    health.fec_centi += 100 * cycles
    health.window(0, (value, var, alone), walk_bp, 0)
    health.windows_done(0)


def test_repeated_windows_never_claim_less_than_their_common_error():
    health = soh()
    for _ in range(200):
        feed(health, 9000.0)
    assert health.soh[0] == pytest.approx(9000)
    assert health.var[0] >= 150.0**2 - 40.0**2
    assert health.method[0] == Method.CHARGE_WINDOW


def test_charges_a_hundred_cycles_apart_are_not_averaged_into_a_lag():
    health = soh()
    value = 9500.0
    for _ in range(20):
        value -= 150
        feed(health, value, cycles=100)
    assert health.soh[0] == pytest.approx(value, abs=10)


def test_a_single_odd_charge_moves_the_figure_less_than_its_error():
    health = soh()
    for _ in range(20):
        feed(health, 9000.0)
    feed(health, 8000.0)
    assert health.soh[0] > 8800


def test_a_window_and_a_full_cycle_are_fused():
    health = soh()
    health.soh[0], health.var[0], health.best[0] = 9200.0, 150.0**2, 150.0**2
    health.method[0] = Method.FULL_CYCLE
    health.opened(0)
    feed(health, 9000.0, cycles=0)
    assert health.method[0] == Method.FUSED
    assert health.soh[0] == pytest.approx(9100, abs=5)


# --- both interpreters ----------------------------------------------------------------------


def test_micropython_reads_a_charge_the_same(micropython, root):
    script = str(root / "tests" / "firmware" / "scripts" / "window_charge.py")
    here, there = (
        subprocess.run(
            [interpreter, script, str(root)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for interpreter in (sys.executable, micropython)
    )
    assert here == there
    assert here.count("\n") == 4
