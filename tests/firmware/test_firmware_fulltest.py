"""The commanded full test: it counts what flowed, and ends in any case."""

import pytest
from commanded_bench import BOOT, Bench

from common.codes import CommandResult, Method, Refusal, Test, TestPhase, TestStop
from firmware.fulltest import EMPTY_MARGIN_MV, SETTLE_S


@pytest.fixture
def bench() -> Bench:
    bench = Bench(soc=0.9, dt_ms=2000)
    assert bench.start(Test.FULL) == CommandResult.DONE
    return bench


def until(bench: Bench, *phases: int, cycles: int = 40000) -> None:
    for _ in range(cycles):
        if bench.tests._test.phase in phases:
            return
        bench.cycle()
    raise AssertionError(bench.tests._test.phase)


def test_a_whole_test_counts_charge_and_energy_and_tells_the_capacity(bench: Bench) -> None:
    lowest_mv = []
    while bench.tests.busy:
        bench.cycle()
        lowest_mv.append(bench.s.min_mv)
    result = bench.read()
    charged_mah, discharged_mah = bench.moved_mah
    assert (result["ResTst"], result["EndStop"], result["ResBoot"]) == (Test.FULL, 0, BOOT)
    assert (result["ResRef"], result["ResMth"]) == (Refusal.NONE, Method.FULL_CYCLE)
    assert result["ChaAh"] == pytest.approx(charged_mah / 1000, abs=0.002)
    assert result["DisAh"] == pytest.approx(discharged_mah / 1000, abs=0.002)
    assert 3.3 * 4 < result["DisWh"] / result["DisAh"] < 3.8 * 4
    assert result["ChaWh"] / result["ChaAh"] > result["DisWh"] / result["DisAh"]
    assert result["ResDur"] == pytest.approx(result["ResUpS"], abs=20)
    assert (result["ResTmp"], result["RteC"]) == (25.0, 33.33)
    assert result["SohLo"] < 75 < result["SohHi"]
    assert result["Soh"] == pytest.approx(75, abs=0.5)
    assert [cell["Ref"] for cell in result["cells"]] == [Refusal.NONE] * 4
    for cell, soh in zip(result["cells"], (80, 80, 75, 80), strict=True):
        assert cell["SohLo"] < soh < cell["SohHi"]
    empty_mv = bench.settings.cuv_mv + EMPTY_MARGIN_MV
    assert empty_mv - 5 < min(lowest_mv) <= empty_mv


def test_the_charge_ends_full_and_the_discharge_begins_rested(bench: Bench) -> None:
    until(bench, TestPhase.RESTING)
    assert bench.s.max_mv >= 4180
    assert bench.flowing_ma <= 10000 / 20
    assert bench.tests.request_ma == 0
    began_s = bench.s.uptime_s
    until(bench, TestPhase.DISCHARGING)
    assert SETTLE_S <= bench.s.uptime_s - began_s <= SETTLE_S + 4


def test_what_the_pack_does_not_allow_is_not_asked_for(bench: Bench) -> None:
    asked = []
    while bench.tests.busy:
        bench.cycle()
        ma = bench.tests.request_ma
        assert -bench.protection.dcl_ma <= ma <= bench.protection.ccl_ma
        asked.append(ma)
    assert max(asked) == 10000 // 3
    assert min(asked) == -(10000 // 3)


def test_a_plateau_tells_the_pack_but_not_its_other_cells() -> None:
    bench = Bench(profile="lfp", soh=(0.9, 0.85, 0.9, 0.9), dt_ms=2000)
    bench.start(Test.FULL)
    bench.soc = [0.9, 0.85, 0.85, 0.9]
    bench.run()
    result = bench.read()
    assert result["EndStop"] == TestStop.NONE
    assert result["SohLo"] < 100 * result["DisAh"] / 10 < result["SohHi"]
    refusals = [cell["Ref"] for cell in result["cells"]]
    assert refusals == [0, Refusal.TOO_UNCERTAIN, Refusal.TOO_UNCERTAIN, 0]
    for cell in result["cells"]:
        assert (cell["Soh"] is None) == (cell["Ref"] == Refusal.TOO_UNCERTAIN)


def test_one_lost_measurement_takes_the_request_away_and_the_next_gives_it_back(
    bench: Bench,
) -> None:
    until(bench, TestPhase.DISCHARGING)
    bench.cycle(100)
    before = bench.tests.request_ma
    bench.s.valid = False
    bench.judge()
    assert bench.tests.request_ma == 0
    bench.s.valid = True
    bench.cycle()
    assert bench.tests.request_ma == before < 0
    bench.s.valid = False
    for _ in range(3):
        bench.judge()
    assert bench.read()["EndStop"] in {TestStop.NOT_MEASURED, TestStop.FAULT}


@pytest.mark.parametrize(
    ("spoil", "stop"),
    [
        ({"factor": 0.0}, TestStop.NO_CURRENT),
        ({"factor": 1.5}, TestStop.WRONG_CURRENT),
        ({"factor": -1.0}, TestStop.WRONG_CURRENT),
        ({"stuck": True}, TestStop.CURRENT_STAYS),
        ({"temp_dc": 80}, TestStop.TEMPERATURE),
    ],
)
def test_a_source_or_a_pack_that_does_not_do_ends_it(
    bench: Bench, spoil: dict[str, object], stop: int
) -> None:
    until(bench, TestPhase.DISCHARGING)
    for name, value in spoil.items():
        setattr(bench, name, value)
    bench.run()
    result = bench.read()
    assert (result["EndTst"], result["EndStop"]) == (Test.FULL, stop)
    assert (result["ResTst"], result["Soh"]) == (Test.NONE, None)
    assert bench.tests.request_ma == 0


def test_a_current_in_the_rest_ends_it(bench: Bench) -> None:
    until(bench, TestPhase.RESTING)
    bench.cycle(60)
    bench.stuck = True
    bench.flowing_ma = 2000.0
    bench.cycle()
    assert bench.read()["EndStop"] == TestStop.WRONG_CURRENT


def test_a_pack_that_never_rests_or_never_fills_is_given_up() -> None:
    bench = Bench(dt_ms=4000)
    bench.start(Test.FULL)
    bench.stuck = True
    bench.flowing_ma = 300.0
    bench.run(4000)
    assert bench.read()["EndStop"] == TestStop.NOT_RESTED
    bench = Bench(dt_ms=4000)
    bench.capacity_mah = [1e6] * 4
    bench.start(Test.FULL)
    bench.run(40000)
    assert bench.read()["EndStop"] == TestStop.TOO_LONG


def test_the_time_left_falls_to_nothing(bench: Bench) -> None:
    left = []
    while bench.tests.busy:
        left.append(bench.tests._test.left_s(round(10000 * min(bench.soc))))
        bench.cycle(600)
    assert bench.s.uptime_s == pytest.approx(left[0], rel=0.3)
    assert left == sorted(left, reverse=True)
    assert left[-1] <= 1200
