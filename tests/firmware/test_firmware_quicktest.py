"""The commanded pulse test: what it asks for, what it records, and that anything can end it."""

from array import array

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures
from hypothesis import given
from hypothesis import strategies as st

from common.codes import TestPhase as Phase
from common.codes import TestStop as Stop
from firmware.estimators.pulse import FEATURES, PulseTest, Reason, features
from firmware.quicktest import MARGIN_MV, REST_S, QuickTest

N = 4
RATED_MAH = 10000
R_MV_PER_C = 80.0  # of each cell, at once
FADE_MV_PER_C = 4.0  # what a pulse leaves behind


class Bench:
    """A pack, and a charger and load that follow the request one cycle later."""

    def __init__(self, quick: QuickTest | None = None) -> None:
        self.settings = nmc(N, RATED_MAH)
        self.quick = quick or QuickTest(self.settings)
        self.s = healthy(N, 3700)
        self.base_mv = 3700.0
        self.ccl_ma = self.dcl_ma = 20000
        self.faulty = False
        self.factor = 1.0  # of the request that really flows
        self.stuck = False  # the source does not turn off
        self.offset_ma = 8  # of the sensor
        self.flowing_ma = 0.0
        self.asked: list[int] = []
        self.charge_mas = 0.0

    def cycle(self, cycles: int = 1) -> None:
        for _ in range(cycles):
            before_ma = self.flowing_ma
            wanted_ma = self.quick.request_ma * self.factor
            if not (self.stuck and not wanted_ma):
                self.flowing_ma = wanted_ma
            rate = self.flowing_ma / RATED_MAH
            if before_ma and not self.flowing_ma:
                self.base_mv += FADE_MV_PER_C * before_ma / RATED_MAH
            mv = round(self.base_mv + rate * R_MV_PER_C)
            set_cells(self.s, [mv, mv + 10, mv + 20, mv + 30])
            self.s.current_ma = round(self.flowing_ma) + self.offset_ma
            self.charge_mas += self.flowing_ma
            self.quick.update(self.s, self.ccl_ma, self.dcl_ma, self.faulty)
            self.asked.append(self.quick.request_ma)

    def until(self, *phases: int, cycles: int = 3000) -> None:
        for _ in range(cycles):
            if self.quick.phase in phases:
                return
            self.cycle()
        raise AssertionError(f"still in phase {self.quick.phase} (stop {self.quick.stop})")


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.quick.start()
    return bench


def test_a_whole_test_records_the_cells_as_they_are(bench: Bench) -> None:
    bench.until(Phase.DONE, Phase.STOPPED)
    assert bench.quick.phase == Phase.DONE
    assert bench.quick.request_ma == 0
    assert bench.quick.temp_dc == 250
    assert REST_S + 400 < bench.quick.took_s < REST_S + 600
    assert max(bench.asked) == 15000
    assert min(bench.asked) == -10000
    assert abs(bench.charge_mas) < 0.01 * RATED_MAH * 3600
    out = array("f", bytes(4 * len(FEATURES)))
    for cell in range(N):
        test = PulseTest(RATED_MAH, 3, 2)
        bench.quick.fill(cell, test)
        assert features(test, out) == Reason.NONE
        f = dict(zip(FEATURES, out, strict=True))
        assert f["total"] == pytest.approx(R_MV_PER_C, abs=1)
        assert f["total_1s"] == pytest.approx(R_MV_PER_C, abs=1)
        assert f["asym"] == pytest.approx(0, abs=2)
        assert f["rest_c"] == pytest.approx(FADE_MV_PER_C, abs=1)
        assert f["rest_d"] == pytest.approx(-FADE_MV_PER_C, abs=1)


def test_nothing_is_asked_for_before_the_cells_have_rested(bench: Bench) -> None:
    bench.cycle(REST_S - 1)
    assert bench.quick.phase == Phase.WAITING
    assert not any(bench.asked)
    bench.s.dt_ms = 1000
    bench.quick.update(bench.s, 20000, 20000, False)
    assert bench.quick.phase == Phase.RISING
    assert bench.quick.request_ma == 5000


def test_cells_that_still_settle_are_waited_for_but_not_for_ever(bench: Bench) -> None:
    for _ in range(3700):
        bench.base_mv -= 0.1  # 6 mV a minute
        bench.cycle()
    assert (bench.quick.phase, bench.quick.stop) == (Phase.STOPPED, Stop.NOT_RESTED)
    assert not any(bench.asked)


def test_a_current_meanwhile_begins_the_rest_anew(bench: Bench) -> None:
    bench.cycle(REST_S - 10)
    bench.s.current_ma = 3000
    bench.quick.update(bench.s, 20000, 20000, False)
    bench.cycle(REST_S - 10)
    assert bench.quick.phase == Phase.WAITING


@given(cycle=st.integers(0, REST_S + 480), how=st.sampled_from(["abort", "fault", "lost", "cold"]))
def test_it_can_be_ended_at_any_time_and_asks_for_nothing_from_then_on(
    cycle: int, how: str
) -> None:
    bench = Bench()
    bench.quick.start()
    bench.cycle(cycle)
    if how == "abort":
        bench.quick.abort()
    elif how == "fault":
        bench.faulty = True
    elif how == "cold":
        set_temperatures(bench.s, 50)
    else:
        bench.s.valid = False
    asked = len(bench.asked)
    bench.cycle(5)
    if bench.quick.phase != Phase.DONE:
        assert bench.quick.phase == Phase.STOPPED
        assert bench.quick.stop in {
            Stop.BY_COMMAND, Stop.FAULT, Stop.NOT_MEASURED, Stop.TEMPERATURE,
        }  # fmt: skip
        test = PulseTest(RATED_MAH, 3, 2)
        bench.quick.fill(0, test)
        assert not any(test.have)
    assert not any(bench.asked[asked:])


@given(
    ccl=st.lists(st.integers(0, 20000), min_size=1, max_size=8),
    dcl=st.lists(st.integers(0, 20000), min_size=1, max_size=8),
    base=st.integers(2800, 4250),
)
def test_a_request_is_never_above_the_limits_of_its_cycle(
    ccl: list[int], dcl: list[int], base: int
) -> None:
    bench = Bench()
    bench.base_mv = float(base)
    bench.quick.start()
    bench.cycle(REST_S - 2)
    for k in range(600):
        bench.ccl_ma = ccl[k // 40 % len(ccl)]
        bench.dcl_ma = dcl[k // 40 % len(dcl)]
        bench.cycle()
        assert -bench.dcl_ma <= bench.quick.request_ma <= bench.ccl_ma
        if bench.quick.request_ma > 0:
            assert bench.s.max_mv <= bench.settings.cov_mv - MARGIN_MV
        if bench.quick.request_ma < 0:
            assert bench.s.min_mv >= bench.settings.cuv_mv + MARGIN_MV
        if not bench.quick.running:
            break
    assert not bench.quick.running


def test_rates_above_the_limits_are_passed_over_and_the_rest_is_judged(bench: Bench) -> None:
    bench.ccl_ma = 12000
    bench.until(Phase.DONE, Phase.STOPPED)
    assert bench.quick.phase == Phase.DONE
    assert max(bench.asked) == 10000
    test = PulseTest(RATED_MAH, 3, 2)
    bench.quick.fill(1, test)
    out = array("f", bytes(4 * len(FEATURES)))
    assert features(test, out) == Reason.NONE
    assert dict(zip(FEATURES, out, strict=True))["total"] == pytest.approx(R_MV_PER_C, abs=1)


def test_no_room_for_the_smallest_pulse_ends_the_test(bench: Bench) -> None:
    bench.ccl_ma = 4000
    bench.until(Phase.STOPPED)
    assert bench.quick.stop == Stop.NO_ROOM


@pytest.mark.parametrize(
    ("spoil", "stop"),
    [
        ({"factor": 0.0}, Stop.NO_CURRENT),
        ({"factor": 0.6}, Stop.NO_CURRENT),
        ({"factor": 1.5}, Stop.WRONG_CURRENT),
        ({"stuck": True}, Stop.CURRENT_STAYS),
    ],
)
def test_a_source_that_does_not_follow_ends_the_test(
    bench: Bench, spoil: dict[str, float], stop: int
) -> None:
    for name, value in spoil.items():
        setattr(bench, name, value)
    bench.until(Phase.STOPPED, Phase.DONE)
    assert bench.quick.stop == stop
    assert bench.quick.request_ma == 0


def test_a_test_can_be_begun_again_and_forgets_the_last(bench: Bench) -> None:
    bench.until(Phase.DONE)
    bench.quick.start()
    assert bench.quick.phase == Phase.WAITING
    test = PulseTest(RATED_MAH, 3, 2)
    bench.quick.fill(0, test)
    assert not any(test.have)
    bench.quick.abort()
    bench.quick.abort()
    assert bench.quick.stop == Stop.BY_COMMAND


@pytest.mark.parametrize(
    "wrong", [{"charges": 4, "discharges": 2}, {"discharges": 1}, {"widths_ms": ()}]
)
def test_a_plan_that_cannot_be_judged_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="quick test"):
        QuickTest(nmc(N, RATED_MAH), **wrong)


def test_what_was_not_finished_has_no_resistance(bench: Bench) -> None:
    assert bench.quick.resistance(0) is None
    assert bench.quick.late(0) == 0.0
    bench.until(Phase.PULSE)
    assert bench.quick.resistance(0) is None
    bench.until(Phase.DONE)
    r_uohm, low, high = bench.quick.resistance(0)
    assert low < 8000 < high
    assert r_uohm == pytest.approx(8000, rel=0.02)


def test_one_whole_pulse_of_the_longest_tells_no_resistance(bench: Bench) -> None:
    bench.until(Phase.DONE)
    for pulse in range(1, bench.quick.pulses):
        bench.quick._step_ma[bench.quick.pulses + pulse] = 0
    assert bench.quick.resistance(0) is None


def test_a_pulse_whose_limit_falls_is_cut_and_left_out_the_first_of_all_ends_the_test(
    bench: Bench,
) -> None:
    bench.until(Phase.PULSE)
    bench.ccl_ma = 4000
    bench.cycle()
    assert (bench.quick.phase, bench.quick.stop) == (Phase.STOPPED, Stop.NO_ROOM)
    bench.ccl_ma = 20000
    bench.quick.start()
    while bench.quick.request_ma != 10000 or bench.quick.phase != Phase.PULSE:
        bench.cycle()
    bench.ccl_ma = 6000
    bench.cycle()
    assert (bench.quick.phase, bench.quick.request_ma) == (Phase.FALLING, 0)
    bench.until(Phase.DONE)
    test = PulseTest(RATED_MAH, 3, 2)
    bench.quick.fill(0, test)
    assert test.step_ma[1][2] == test.step_ma[0][2] == 0
    assert test.step_ma[0][0] == pytest.approx(5000, abs=20)


def test_a_current_that_changes_within_a_pulse_or_the_rest_after_it_ends_the_test(
    bench: Bench,
) -> None:
    bench.until(Phase.PULSE)
    bench.factor = 0.5
    bench.cycle()
    assert (bench.quick.phase, bench.quick.stop) == (Phase.STOPPED, Stop.WRONG_CURRENT)
    bench.factor = 1.0
    bench.quick.start()
    bench.until(Phase.RELAXING)
    bench.offset_ma = 3000
    bench.cycle()
    assert (bench.quick.phase, bench.quick.stop) == (Phase.STOPPED, Stop.WRONG_CURRENT)


def test_a_test_that_lasts_too_long_is_ended(bench: Bench) -> None:
    bench.quick.most_s = REST_S // 2
    bench.until(Phase.STOPPED)
    assert bench.quick.stop == Stop.TOO_LONG
    assert bench.quick.took_s == REST_S // 2 + 1
