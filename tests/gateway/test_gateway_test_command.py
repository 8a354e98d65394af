"""``echelon test`` against a pack that walks through a test, one step a look."""

import json
import os
import re
import signal
import struct
import threading

import pytest
from gateway_fakes import FakePack, PackTcpServer

from common import models
from common.codes import Command, CommandResult, Method, Refusal, Test, TestPhase, TestStop, names
from gateway.cli import main
from gateway.commands import test as test_command
from gateway.commands.test import NO_SOH, REFUSALS, STOPS

N_CELLS = 4
MODEL_CRC = 0xDEADBEEF
KINDS = {Command.START_QUICK_TEST: Test.QUICK, Command.START_FULL_TEST: Test.FULL}
# phase, step, current asked for (mA)
QUICK = [
    (TestPhase.WAITING, 1, 0),
    (TestPhase.RISING, 2, 5000),
    (TestPhase.PULSE, 2, 5000),
    (TestPhase.RELAXING, 3, 0),
]
DETAIL_EVERY = 5  # cycles between two writings of the TEST model where nothing changes
LEFT_OVER = -1  # a cycle that has measured, and not yet told of the test
SNAPSHOT_AT = FakePack(n_cells=N_CELLS).map.block(models.SNAPSHOT).address


class TestingPack(FakePack):
    """Each look at its snapshot is a measurement cycle later; a script says what it does then.

    As on the board, a command shows in the TEST model with the next cycle only.
    """

    __test__ = False

    def __init__(self, script=QUICK, end=TestStop.NONE, answer=CommandResult.DONE):
        super().__init__("EB-7", n_cells=N_CELLS)
        self.script, self.end, self.answer_to_start = list(script), end, answer
        self.todo = None  # phases to come; ``None``: no test runs
        self.kind = Test.NONE
        self.commands = []
        self.silent_writes = 0  # this many commands are lost on their way
        self.on_cycle = lambda: None
        self.block = self.map.block(models.TEST)
        self.measure()
        self._tell(Test.NONE, TestPhase.IDLE, TestStop.NONE)
        self.block.set("EndTst", Test.NONE)
        self.block.set("ResTst", Test.NONE)

    def record(self, kind, stop=TestStop.NONE):
        """Write how a test has ended, and its result if it was completed."""
        block = self.block
        block.set("EndTst", kind)
        block.set("EndStop", stop)
        if stop:
            return
        for name, value in {
            "ResTst": kind, "ResMth": Method.PULSE_TEST, "ResRef": Refusal.NONE,
            "ResDur": 754, "Soh": 8100, "SohLo": 7800, "SohHi": 8400, "MdlCrc": MODEL_CRC,
        }.items():  # fmt: skip
            block.set(name, value)
        for cell in range(self.n_cells):
            block.set_cell("Soh", cell, 8100 + 10 * cell)
            block.set_cell("R", cell, 250 + cell)

    def _tell(self, kind, phase, stop, step=None):
        for name, value in {
            "Tst": kind, "TstPh": phase, "TstStop": stop, "Stp": step, "NStp": 3, "Elap": 10,
            "Left": 3661,
        }.items():  # fmt: skip
            self.block.set(name, value)

    def _cycle(self):
        written = self.block.get("Seq")
        self._measure()
        asked_ma = 0
        if self.todo is None or (self.todo and self.todo[0] == LEFT_OVER):
            if self.seq % DETAIL_EVERY:
                self.block.set("Seq", written)
                self.block.set("SeqEnd", written)
            self.todo = self.todo and self.todo[1:]
        elif self.todo:
            phase, step, asked_ma = self.todo.pop(0)
            self._tell(self.kind, phase, TestStop.NONE, step)
        else:
            self.finish(self.end)
        self.map.block(models.PROTECTION).set("ReqA", asked_ma)
        self.map.block(models.SNAPSHOT).set("A", asked_ma - asked_ma // 500)
        self.on_cycle()

    def finish(self, stop):
        phase = TestPhase.STOPPED if stop else TestPhase.DONE
        self._tell(self.kind, phase, stop)
        self.record(self.kind, stop)
        self.todo = None

    def _answer(self, pdu):
        if pdu[0] == 3 and struct.unpack(">H", pdu[1:3])[0] == SNAPSHOT_AT:
            self._cycle()
        return super()._answer(pdu)

    def _write(self, address, data):
        super()._write(address, data)
        control = self.map.block(models.CONTROL)
        if address == control.address + control.layout.offset("Cmd"):
            code = control.get("Cmd")
            self.commands.append(code)
            control.set("CmdRes", self._command(code))

    def _command(self, code):
        if code in KINDS and self.answer_to_start == CommandResult.DONE:
            self.kind, self.todo = KINDS[code], list(self.script)
            return CommandResult.DONE
        if code in KINDS:
            return self.answer_to_start
        if self.todo is not None:
            self.todo, self.end = [], TestStop.BY_COMMAND
        return CommandResult.DONE

    def answer(self, pdu):
        if pdu[0] == 23 and self.silent_writes:
            self.silent_writes -= 1
            super().answer(pdu)  # it is taken; the answer is lost
            return None
        return super().answer(pdu)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(test_command, "LOOK_EVERY_S", 0.01)


def run(pack, *arguments, timeout_ms=2000):
    with PackTcpServer({3: pack}) as server:
        return main(["test", server.url, "3", "--timeout-ms", str(timeout_ms), *arguments])


def objects(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_test_is_started_watched_and_its_result_printed_a_line_a_cell(capsys):
    pack = TestingPack()
    assert run(pack, "quick", "--watch") == 0
    assert pack.commands == [Command.START_QUICK_TEST]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "quick test of EB-7 started",
        "step 1/3 waiting: asked 0 A, flows 0 A, 0:00:10 gone, 1:01:01 left",
        "step 2/3 rising: asked 5 A, flows 4.99 A, 0:00:10 gone, 1:01:01 left",
        "step 2/3 pulse: asked 5 A, flows 4.99 A, 0:00:10 gone, 1:01:01 left",
        "step 3/3 relaxing: asked 0 A, flows 0 A, 0:00:10 gone, 1:01:01 left",
        "quick test of EB-7:",
    ]
    assert ["soh_method", "pulse_test"] in [line.split() for line in lines]
    at = lines.index("quick test of EB-7 cells:")
    head, *cells = [line.split() for line in lines[at + 1 : at + 2 + N_CELLS]]
    assert [cell[head.index("soh_pct")] for cell in cells] == ["81.0", "81.1", "81.2", "81.3"]
    assert cells[2][head.index("resistance_ohm")] == "0.00252"


def test_the_same_as_one_json_object_a_line(capsys):
    assert run(TestingPack(), "full", "--watch", "--json") == 0
    started, *progress, result = objects(capsys)
    assert started == {"kind": "started", "serial": "EB-7", "test": "full"}
    assert [each["phase"] for each in progress] == ["waiting", "rising", "pulse", "relaxing"]
    assert progress[1] == {
        "kind": "progress", "serial": "EB-7", "test": "full", "phase": "rising", "step": 2,
        "step_count": 3, "elapsed_s": 10, "left_s": 3661, "requested_current_a": 5.0,
        "current_a": 4.99,
    }  # fmt: skip
    assert (result["kind"], result["outcome"]) == ("result", "done")
    assert result["result"]["model_crc"] == MODEL_CRC
    assert len(result["result"]["cells"]) == N_CELLS


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_the_end_of_an_earlier_test_is_not_taken_for_that_of_a_new_one(cycles, capsys):
    pack = TestingPack([*[LEFT_OVER] * cycles, *QUICK], end=TestStop.NO_CURRENT)
    pack.kind = Test.QUICK
    pack.finish(TestStop.NONE)
    assert run(pack, "quick", "--watch", "--json") == 1
    assert [each["kind"] for each in objects(capsys)] == [
        "started", "progress", "progress", "progress", "progress", "result", "earlier",
    ]  # fmt: skip


@pytest.mark.parametrize("stop", [number for number in names(TestStop) if number != TestStop.NONE])
def test_a_test_that_was_stopped_says_why_in_words(stop, capsys):
    assert run(TestingPack(end=stop), "quick", "--watch") == 1
    name = names(TestStop)[stop].lower()
    assert capsys.readouterr().out.splitlines()[-1] == f"the test was stopped: {STOPS[name]}"
    assert "_" not in STOPS[name]


@pytest.mark.parametrize("refusal", [n for n in names(CommandResult) if n > CommandResult.DONE])
def test_a_test_that_is_refused_says_why_in_words(refusal, capsys):
    assert run(TestingPack(answer=refusal), "full", "--watch") == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"the board refuses the full test: {REFUSALS[refusal]}"


def test_without_watch_a_test_is_started_and_left_to_the_board(capsys):
    pack = TestingPack()
    assert run(pack, "full") == 0
    assert capsys.readouterr().out == "full test of EB-7 started\n"
    assert pack.commands == [Command.START_FULL_TEST]
    assert run(pack, "show") == 0  # how far is it?
    assert capsys.readouterr().out.startswith("step 1/3 waiting: ")
    assert run(pack, "show", "--watch") == 0  # somebody else's test can be watched
    assert "quick" not in capsys.readouterr().out
    assert pack.commands == [Command.START_FULL_TEST]


def test_what_is_recorded_is_printed_while_no_test_runs(capsys):
    pack = TestingPack()
    assert run(pack, "show") == 1
    assert capsys.readouterr().out == "no test of EB-7 is recorded\n"
    pack.record(Test.QUICK)
    assert run(pack, "show", "--json") == 0
    assert objects(capsys)[0]["result"]["soh_pct"] == 81.0
    assert pack.commands == []


@pytest.mark.parametrize("refusal", sorted(NO_SOH))
def test_a_result_without_a_state_of_health_says_why_in_words(refusal, capsys):
    pack = TestingPack()
    pack.record(Test.QUICK)
    pack.block.set("Soh", None)
    pack.block.set("ResRef", getattr(Refusal, refusal.upper()))
    assert run(pack, "show") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"no state of health: {NO_SOH[refusal]}"
    assert "_" not in NO_SOH[refusal]


def test_a_result_shows_only_what_its_kind_of_test_has(capsys):
    pack = TestingPack()
    shown = {}
    for kind in (Test.QUICK, Test.FULL):
        pack.record(kind)
        assert run(pack, "show") == 0
        shown[kind] = capsys.readouterr().out
    assert "resistance_ohm" in shown[Test.QUICK]
    assert "model_crc" in shown[Test.QUICK]
    assert "charged_ah" not in shown[Test.QUICK]
    assert "discharged_wh" in shown[Test.FULL]
    for absent in ("resistance", "pulse_count", "model_crc"):
        assert absent not in shown[Test.FULL]
    assert "no state of health" not in "".join(shown.values())


def test_a_stopped_test_is_told_and_the_result_of_an_earlier_one_is_still_shown(capsys):
    pack = TestingPack()
    pack.record(Test.FULL, TestStop.POWER_LOST)
    assert run(pack, "show") == 1
    stopped = "the test was stopped: the board started anew while it ran"
    assert capsys.readouterr().out == stopped + "\n"
    pack.record(Test.QUICK)
    pack.record(Test.FULL, TestStop.POWER_LOST)
    assert run(pack, "show") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [stopped, "earlier quick test of EB-7:"]
    assert ["soh_pct", "81.0"] in [line.split() for line in lines]
    assert run(pack, "show", "--json") == 1
    ended, earlier = objects(capsys)
    assert (ended["kind"], ended["outcome"]) == ("result", "power_lost")
    assert (earlier["kind"], earlier["result"]["soh_pct"]) == ("earlier", 81.0)


def test_a_running_test_can_be_stopped(capsys):
    pack = TestingPack([*QUICK, *QUICK])
    assert run(pack, "quick") == 0
    assert run(pack, "stop") == 0
    assert pack.commands == [Command.START_QUICK_TEST, Command.STOP_TEST]
    assert capsys.readouterr().out.splitlines()[-1] == "the test was stopped: by a command"
    assert pack.todo is None


def test_ctrl_c_while_watching_asks_the_board_to_stop(capsys):
    pack = TestingPack(QUICK * 1000)
    pressed = threading.Event()

    def press():
        if len(pack.todo or ()) < 3900 and not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)

    pack.on_cycle = press
    assert run(pack, "quick", "--watch") == 1
    assert pack.commands == [Command.START_QUICK_TEST, Command.STOP_TEST]
    captured = capsys.readouterr()
    assert captured.err.strip() == "asking the board to stop the test"
    assert captured.out.splitlines()[-1] == "the test was stopped: by a command"


def test_a_board_that_starts_anew_has_lost_its_test(capsys):
    pack = TestingPack(QUICK * 3)

    def lose_power():
        if len(pack.todo or ()) == 5:
            pack.restart()
            pack.todo = None
            pack._measure()
            pack._tell(Test.NONE, TestPhase.IDLE, TestStop.NONE)

    pack.on_cycle = lose_power
    assert run(pack, "quick", "--watch") == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "the test was stopped: the board started anew while it ran"
    )


def test_a_start_whose_answer_is_lost_is_not_sent_twice(capsys):
    pack = TestingPack()
    pack.silent_writes = 1
    assert run(pack, "quick", "--watch", timeout_ms=500) == 2
    assert pack.commands == [Command.START_QUICK_TEST]
    (line,) = capsys.readouterr().err.splitlines()
    assert "whether the test was started is not known (try show)" in line


def test_a_stop_whose_answer_is_lost_is_sent_again(capsys):
    pack = TestingPack([*QUICK, *QUICK])
    assert run(pack, "quick") == 0
    pack.silent_writes = 2
    assert run(pack, "stop", timeout_ms=500) == 0
    assert pack.commands == [Command.START_QUICK_TEST, *[Command.STOP_TEST] * 3]


def test_a_stop_where_nothing_runs_says_so(capsys):
    pack = TestingPack()
    assert run(pack, "stop") == 0
    assert capsys.readouterr().out == "no test was running\n"


def test_a_pack_that_falls_silent_is_told_and_its_test_goes_on(monkeypatch, capsys):
    pack = TestingPack(QUICK * 1000)
    monkeypatch.setattr(test_command, "LOST_LOOKS", 2)
    answer = pack.answer
    pack.answer = lambda pdu: None if len(pack.requests) > 60 else answer(pdu)
    assert run(pack, "quick", "--watch", timeout_ms=500) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"echelon: unit 3: no answer within 0.5 s: the test goes on unwatched "
        r"\(try show --watch\)", line,
    )  # fmt: skip
    assert pack.commands == [Command.START_QUICK_TEST]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["3", "stop", "--watch"], "--watch does not go with stop"),
        (["0", "quick"], r"address 0 is not one (try 1 to 247)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, told, capsys):
    assert main(["test", "tcp://127.0.0.1:1", *arguments]) == 2
    assert capsys.readouterr().err == f"echelon: {told}\n"
