"""Commanded tests of a pack: started only when all is well, ended by anything, never forgotten."""

import importlib
import sys
from collections.abc import Callable

import pytest
from commanded_bench import BOOT, Bench
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from interpreters import lines

from common.codes import CommandResult, Fault, Method, Refusal, Test, TestPhase, TestStop
from firmware import cell_tests
from firmware.quicktest import REST_S

BOTH_KINDS = pytest.mark.parametrize("kind", [Test.QUICK, Test.FULL])
RESULT = ("ResTst", "ResRef", "ResMth", "ResBoot", "ResUpS", "ResDur", "Soh", "cells")


def kept(bench: Bench) -> dict[str, object]:
    block = bench.read()
    return {name: block[name] for name in RESULT}


def restarted(bench: Bench, change: Callable[[Bench], None] = lambda _: None) -> Bench:
    """The same pack's board, switched off and on."""
    again = Bench(tuple(mah / 10000 for mah in bench.capacity_mah))
    change(again)
    again.tests._boot = BOOT + 1
    again.tests.restore(bench.tests.state())
    return again


@pytest.fixture
def bench() -> Bench:
    return Bench()


@BOTH_KINDS
def test_a_healthy_pack_begins_and_a_second_test_has_to_wait(bench: Bench, kind: int) -> None:
    assert bench.start(kind) == CommandResult.DONE
    assert bench.start(Test.QUICK) == CommandResult.REFUSED_BUSY
    bench.cycle()
    block = bench.read()
    assert (block["Tst"], block["TstPh"], block["Stp"]) == (kind, TestPhase.WAITING, 1)
    bench.tests.stop()
    assert bench.start(Test.FULL) == CommandResult.REFUSED_BUSY, "its result is not written yet"
    bench.cycle()
    assert bench.start(Test.FULL) == CommandResult.DONE


def fault(bench: Bench) -> None:
    bench.protection.reported = 1 << Fault.CONFIGURATION


def latched(bench: Bench) -> None:
    bench.protection.restore_latched(1 << Fault.SHORT_CIRCUIT)


def disconnected(bench: Bench) -> None:
    bench.protection.disconnect()


def open_switch(bench: Bench) -> None:
    bench.s.switches = 1


def unmeasured(bench: Bench) -> None:
    bench.s.valid = False


def cold(bench: Bench) -> None:
    bench.temp_dc = 90


def hot(bench: Bench) -> None:
    bench.temp_dc = 455


def unknown_temperature(bench: Bench) -> None:
    bench.temp_dc = -0x8000


WRONG = [fault, latched, disconnected, open_switch, unmeasured, cold, hot, unknown_temperature]


@BOTH_KINDS
@pytest.mark.parametrize("wrong", WRONG)
def test_a_pack_with_which_something_is_wrong_is_refused(
    bench: Bench, kind: int, wrong: Callable[[Bench], None]
) -> None:
    wrong(bench)
    if wrong is unmeasured:
        bench.judge()
    else:
        bench.cycle()
    assert bench.start(kind) == CommandResult.REFUSED_UNSAFE
    bench.cycle(3)
    assert not bench.tests.running
    assert bench.tests.request_ma == 0


@pytest.mark.parametrize(
    ("soc_bp", "result"),
    [
        (400, CommandResult.REFUSED_UNSAFE),
        (5000, CommandResult.DONE),
        (9600, CommandResult.REFUSED_UNSAFE),
    ],
)
def test_pulses_want_room_on_either_side(bench: Bench, soc_bp: int, result: int) -> None:
    assert bench.tests.start(Test.QUICK, bench.s, bench.protection, soc_bp) == result


@BOTH_KINDS
def test_a_test_leaves_protection_as_it_is(kind: int) -> None:
    alone, tested = Bench(), Bench()
    tested.start(kind)
    for bench in (alone, tested):
        bench.cycle(5)
        bench.protection.reported = 1 << Fault.SENSOR_IMPLAUSIBLE
        bench.cycle(5)
    same = ("allowed", "active", "latched", "state", "ccl_ma", "dcl_ma", "cvl_mv")
    for name in same:
        assert getattr(alone.protection, name) == getattr(tested.protection, name)


def test_without_a_model_a_quick_test_tells_resistances(bench: Bench) -> None:
    bench.start(Test.QUICK)
    bench.run()
    result = bench.read()
    assert (result["ResTst"], result["EndStop"]) == (Test.QUICK, TestStop.NONE)
    assert (result["ResRef"], result["ResMth"]) == (Refusal.NO_MODEL, Method.NONE)
    assert (result["Soh"], result["MdlCrc"], result["ChaAh"]) == (None, None, None)
    assert result["RteC"] == pytest.approx(100, abs=1), "1.5C is above the charge limit"
    for cell in result["cells"]:
        assert cell["RLo"] < cell["R"] < cell["RHi"]
        assert cell["R"] == pytest.approx(8.2e-3, rel=0.03), "8 mOhm, and what 5 s charge"
        assert (cell["Soh"], cell["Ref"]) == (None, Refusal.NO_MODEL)


def test_with_a_model_the_weakest_cell_is_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    model = importlib.import_module("common.cells.pulse_lmo_10ah").MODEL_SLOW
    monkeypatch.setattr(cell_tests, "pulse", lambda _: model)
    bench = Bench(soc=0.75)
    bench.r_mohm = [3.0, 4.0, 3.5, 3.2]
    bench.start(Test.QUICK)
    bench.run()
    result = bench.read()
    assert (result["ResRef"], result["ResMth"]) == (Refusal.NONE, Method.PULSE_TEST)
    assert result["MdlCrc"] == model[13]
    sohs = [cell["Soh"] for cell in result["cells"]]
    assert result["Soh"] == min(sohs)
    weakest = result["cells"][sohs.index(min(sohs))]
    assert result["SohLo"] == weakest["SohLo"]
    wider = (result["SohHi"] - result["Soh"]) / (weakest["SohHi"] - weakest["Soh"])
    assert wider == pytest.approx(1.24, abs=0.01), "each cell of the four errs by itself"
    assert all(cell["SohLo"] < cell["Soh"] < cell["SohHi"] for cell in result["cells"])


def test_one_cell_outside_the_models_voltages_leaves_the_pack_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = importlib.import_module("common.cells.pulse_lmo_10ah").MODEL_SLOW
    narrow = (*model[:10], (3700.0, 4000.0, *model[10][2:]), *model[11:])
    monkeypatch.setattr(cell_tests, "pulse", lambda _: narrow)
    bench = Bench(soc=0.75)
    bench.soc[1] = 0.3  # 3548 mV, below the voltages of calibration
    bench.start(Test.QUICK)
    bench.run()
    result = bench.read()
    assert (result["Soh"], result["ResRef"], result["ResMth"]) == (None, Refusal.SOC_OUTSIDE, 0)
    assert [cell["Ref"] for cell in result["cells"]] == [0, Refusal.SOC_OUTSIDE, 0, 0]


def test_a_temperature_by_which_the_rises_may_be_anything_gives_no_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = importlib.import_module("common.cells.pulse_lmo_10ah").MODEL_SLOW
    monkeypatch.setattr(cell_tests, "pulse", lambda _: model)
    monkeypatch.setattr(cell_tests, "at_25", lambda _dc: (1.0, 5.0))
    bench = Bench(soc=0.75)
    bench.r_mohm = [3.0, 4.0, 3.5, 3.2]
    bench.start(Test.QUICK)
    bench.run()
    result = bench.read()
    assert [cell["Ref"] for cell in result["cells"]] == [Refusal.TEMPERATURE] * 4
    assert (result["Soh"], result["ResRef"]) == (None, Refusal.TEMPERATURE)


def test_a_model_that_is_not_on_the_board_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(cell_tests, "pulse", missing)
    bench = Bench()
    assert bench.start(Test.QUICK) == CommandResult.DONE


def test_the_model_stands_still_between_its_steps(bench: Bench) -> None:
    bench.start(Test.FULL)
    bench.cycle()
    turns = set()
    for _ in range(50):
        before = bench.block.bytes()
        bench.cycle()
        block = bench.read()
        assert block["Seq"] == block["SeqEnd"]
        if bench.block.bytes() != before:
            turns.add(block["Seq"] % bench.settings.detail_every)
            assert block["Seq"] == bench.s.seq
    assert turns == {5}


@BOTH_KINDS
def test_what_a_test_found_survives_a_power_cut(kind: int) -> None:
    bench = Bench(dt_ms=1000 if kind == Test.QUICK else 2000)
    bench.start(kind)
    assert bench.tests.changed
    bench.run()
    assert bench.tests.changed
    assert kept(restarted(bench)) == kept(bench)
    assert kept(restarted(bench))["ResBoot"] == BOOT


@BOTH_KINDS
@pytest.mark.parametrize("cycles", [1, REST_S + 5])
def test_a_test_that_was_running_when_power_went_is_told(
    bench: Bench, kind: int, cycles: int
) -> None:
    bench.start(kind)
    bench.cycle(cycles)
    again = restarted(bench)
    again.cycle(10)
    result = again.read()
    assert (result["Tst"], result["TstPh"]) == (Test.NONE, TestPhase.IDLE)
    assert (result["EndTst"], result["EndStop"]) == (kind, TestStop.POWER_LOST)
    assert (result["EndBoot"], result["EndUpS"]) == (BOOT, None)
    assert (result["ResTst"], result["Soh"]) == (Test.NONE, None)
    assert again.tests.changed, "so that it is told after the next start as well"
    assert again.tests.request_ma == 0


@BOTH_KINDS
def test_a_test_that_is_stopped_leaves_the_last_result_also_over_a_power_cut(kind: int) -> None:
    bench = Bench(dt_ms=2000)
    bench.start(Test.FULL)
    bench.run()
    before = bench.read()
    assert (before["EndTst"], before["EndStop"]) == (Test.FULL, TestStop.NONE)
    bench.start(kind)
    bench.cycle(20)
    cut = restarted(bench)
    bench.tests.stop(TestStop.BY_COMMAND)
    bench.cycle(2)
    stopped = {
        bench: (kind, TestStop.BY_COMMAND, BOOT, bench.s.uptime_s - 2),
        restarted(bench): (kind, TestStop.BY_COMMAND, BOOT, bench.s.uptime_s - 2),
        cut: (kind, TestStop.POWER_LOST, BOOT, None),
        restarted(cut): (kind, TestStop.POWER_LOST, BOOT, None),
    }
    for board, (test, stop, boot, ended_s) in stopped.items():
        result = board.read()
        assert kept(board) == kept(bench) == {name: before[name] for name in RESULT}
        assert (result["EndTst"], result["EndStop"], result["EndBoot"]) == (test, stop, boot)
        assert result["EndUpS"] == ended_s


def test_another_rating_makes_the_conclusion_invalid_and_says_so() -> None:
    bench = Bench(dt_ms=2000)
    bench.start(Test.FULL)
    bench.run()

    def change(again: Bench) -> None:
        again.settings.rated_mah = 12000

    before = bench.read()
    result = restarted(bench, change).read()
    assert (result["Soh"], result["ResRef"]) == (None, Refusal.PROFILE_CHANGED)
    assert {cell["Ref"] for cell in result["cells"]} == {Refusal.PROFILE_CHANGED}
    assert {cell["Soh"] for cell in result["cells"]} == {None}
    assert result["DisAh"] == before["DisAh"]


def test_another_rating_of_a_pack_that_was_never_tested_says_nothing(bench: Bench) -> None:
    def change(again: Bench) -> None:
        again.settings.rated_mah = 12000

    result = restarted(bench, change).read()
    assert (result["ResTst"], result["ResRef"]) == (Test.NONE, None)


def test_nothing_is_written_of_a_test_that_never_began(bench: Bench) -> None:
    bench.tests.finish(None)
    assert not bench.tests.changed


def test_a_cell_of_which_too_few_pulses_were_whole_has_no_resistance(bench: Bench) -> None:
    bench.start(Test.QUICK)
    while bench.tests.running:
        bench.cycle()
    quick = bench.tests._test
    for k in range(len(quick._step_ma)):
        quick._step_ma[k] = 0
    bench.run()
    result = bench.read()
    assert result["ResTst"] == Test.QUICK
    # the first one was judged in the cycle in which the test ended
    assert [cell["R"] for cell in result["cells"][1:]] == [None] * 3


def test_a_pack_whose_switches_are_held_open_is_not_safe_to_test(bench: Bench) -> None:
    bench.protection.allowed = 1
    assert bench.start(Test.QUICK) == CommandResult.REFUSED_UNSAFE


def test_a_record_of_another_pack_or_a_broken_one_is_left_alone(bench: Bench) -> None:
    other = Bench(soh=(0.8,) * 6)
    other.start(Test.QUICK)
    before = bench.block.bytes()
    for data in (None, b"", b"\x01" * 10, other.tests.state(), bytes(len(bench.tests.state()))):
        bench.tests.restore(data)
        assert bench.block.bytes() == before


def test_micropython_finds_the_same_and_takes_little_memory(micropython: str) -> None:
    """The same with 32-bit floats, but for the last digit."""
    found = [line.split() for line in lines(micropython, "commanded_tests.py")]
    mean, most = found.pop(), found.pop()
    assert (mean[0], most[0]) == ("mean", "most")
    assert int(mean[1]) <= 160
    assert int(most[1]) <= 256
    expected = [line.split() for line in lines(sys.executable, "commanded_tests.py")]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (name, value), (_, wanted) in zip(found, expected, strict=True):
        if "None" in (value, wanted):
            assert value == wanted, name
        else:
            assert abs(int(value) - int(wanted)) <= 2, name


class AnyTest(RuleBasedStateMachine):
    """Both tests, with whatever can happen to a pack and its source meanwhile."""

    @initialize(soc=st.floats(0.1, 0.95))
    def begin(self, soc: float) -> None:
        self.bench = Bench(soc=soc)
        self.quiet = True  # whether nothing may be asked for in this cycle

    @rule(kind=st.sampled_from([Test.QUICK, Test.FULL]))
    def start(self, kind: int) -> None:
        self.bench.start(kind)

    @rule()
    def stop(self) -> None:
        self.bench.tests.stop()
        assert self.bench.tests.request_ma == 0

    @rule()
    def disconnect(self) -> None:
        self.bench.protection.disconnect()
        self.bench.cycle()

    @rule()
    def mend(self) -> None:
        bench = self.bench
        bench.protection.connect()
        bench.protection.reported = 0
        bench.temp_dc = 250
        bench.factor = 1.0
        bench.s.switches = 3
        bench.cycle(40)

    @rule(number=st.sampled_from([Fault.CONFIGURATION, Fault.STORAGE, Fault.AFE_RESET]))
    def report(self, number: int) -> None:
        self.bench.protection.reported = 1 << number
        self.bench.cycle()

    @rule()
    def open_switch(self) -> None:
        self.bench.s.switches = 2
        self.bench.cycle()

    @rule(temp_dc=st.sampled_from([-50, 120, 250, 380, 500]))
    def weather(self, temp_dc: int) -> None:
        self.bench.temp_dc = temp_dc
        self.bench.cycle(4)

    @rule(factor=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.3]))
    def source(self, factor: float) -> None:
        self.bench.factor = factor

    @rule(cycles=st.integers(1, 5))
    def lose(self, cycles: int) -> None:
        bench = self.bench
        bench.s.valid = False
        for _ in range(cycles):
            bench.judge()
            assert bench.tests.request_ma == 0
        bench.s.valid = True

    @rule(cycles=st.sampled_from([1, 7, 60, 650]))
    def wait(self, cycles: int) -> None:
        for _ in range(cycles):
            self.bench.cycle()
            self.nothing_is_asked_for_that_may_not_be()

    @precondition(lambda self: self.bench.tests.running)
    @rule()
    def restart(self) -> None:
        again = restarted(self.bench)
        assert again.read()["EndStop"] == TestStop.POWER_LOST
        self.bench = again

    @invariant()
    def nothing_is_asked_for_that_may_not_be(self) -> None:
        if not hasattr(self, "bench"):
            return
        tests, protection, s = self.bench.tests, self.bench.protection, self.bench.s
        ma = tests.request_ma
        assert -protection.dcl_ma <= ma <= protection.ccl_ma
        if not tests.running:
            assert ma == 0
        if protection.active or protection.latched or s.switches != 3 or not s.valid:
            assert ma == 0
        if not protection.connected or protection.allowed != 3:
            assert ma == 0

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        bench.dt_ms = 4000
        ran = bench.tests.running
        bench.run(30000)
        assert bench.tests.request_ma == 0
        if ran:
            assert bench.read()["EndTst"] != Test.NONE


TestAnyTest = AnyTest.TestCase
TestAnyTest.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
