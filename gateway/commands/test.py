"""``echelon test``: has a board test its cells, shows how far it is and what it found.

The board runs the test: it asks for currents in ``ReqA``, which charger and load follow, and it
stops by itself when something is wrong. This command only starts it, stops it, and looks on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from common import codes, models
from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.commands.bus_arguments import (
    add_address_argument,
    add_bus_arguments,
    bus_errors,
    checked_address,
    master_from,
)
from gateway.commands.read import print_table
from gateway.errors import UserError
from gateway.modbus.frames import DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import NoAnswerError
from gateway.pack import NotAPackError, Pack
from gateway.reading import Message, commanded_test

if TYPE_CHECKING:
    import argparse

    from gateway.blocks import Decoded

HELP = "has a pack test its cells, and shows the result"

EXIT_NO_RESULT = 1
LOOK_EVERY_S = 1.0
LOST_LOOKS = 10  # in a row, before a test is no longer watched
STOP_TRIES = 3
STARTS = {"quick": codes.Command.START_QUICK_TEST, "full": codes.Command.START_FULL_TEST}
ENDED = ("idle", "done", "stopped")
LOOK_ERRORS = (
    DeviceError,
    LineError,
    NoAnswerError,
    NotAPackError,
    NotReadyError,
    TornBlockError,
    WrongBlockError,
)
REFUSALS = {
    codes.CommandResult.REFUSED_UNSAFE: "it would not be safe now (echelon read shows why)",
    codes.CommandResult.REFUSED_UNKNOWN: "its firmware does not know this command",
    codes.CommandResult.REFUSED_BUSY: "a test is running (show --watch follows it, stop ends it)",
    codes.CommandResult.REFUSED_SAFE_MODE: "its firmware has crashed too often and runs without "
    "tests (mode and crash_cause of echelon read)",
}
STOPS = {
    "by_command": "by a command",
    "fault": "a fault came up, or a switch was held open (echelon read shows which)",
    "not_measured": "the measurement was lost",
    "temperature": "the cells are too cold or too warm for it",
    "no_current": "no current followed the request (is a charger or load listening?)",
    "wrong_current": "another current flowed than was asked for",
    "current_stays": "the current did not end when it was no longer asked for",
    "no_room": "the limits of the moment allow no current in one of the directions (nearer to "
    "half full they may)",
    "not_rested": "the cells did not come to rest",
    "power_lost": "the board started anew while it ran",
    "too_long": "it took too long",
}
NO_SOH = {
    "no_evidence": "too few whole pulses in one of the directions",
    "temperature": "the cells are too far from 25 °C for the pulse model",
    "too_uncertain": "its interval would be too wide",
    "profile_changed": "the cell profile or the rating is another one since",
    "no_model": "the board has no pulse model for its cell profile (a full test tells it)",
    "unlike": "a cell is unlike all that the pulse model was made from (a full test tells it)",
    "soc_outside": "the pulse model does not know cells so full or so empty (charge or discharge "
    "them, then test again)",
}
OF_PULSES = ("pulse_count", "first_pulse_ms", "second_pulse_ms", "model_crc")
OF_CYCLE = ("charged_ah", "discharged_ah", "charged_wh", "discharged_wh")
OF_PULSED_CELLS = ("resistance_ohm", "resistance_low_ohm", "resistance_high_ohm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    add_address_argument(parser)
    parser.add_argument(
        "action",
        choices=[*STARTS, "show", "stop"],
        help="start a quick test (a train of pulses) or a full one (a charge and a discharge), "
        "show the last one, or stop the one that runs",
    )
    parser.add_argument(
        "--watch", action="store_true", help="until the test has ended; Ctrl-C stops it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


@dataclass(frozen=True)
class _Look:
    """How far a test is, at one moment."""

    boot: int
    seq: int  # of the measurement cycle
    test_seq: int  # of the cycle in which the board last wrote about the test
    test: Message
    requested_a: float | None
    current_a: float | None
    restarted: bool = False  # the board has started anew since the first look

    @property
    def is_running(self) -> bool:
        return self.test["phase"] is not None and self.test["phase"] not in ENDED

    @property
    def has_result(self) -> bool:
        """Whether a completed test is recorded, be it the last one or an earlier one."""
        return self.test["result"]["test"] not in {None, "none"}

    def outcome(self) -> str:
        """``done``, ``none`` where no test is known, or the name of the reason it stopped."""
        phase, recorded = self.test["phase"], self.test["ended"]
        if self.restarted:
            return "power_lost"
        if phase in {"done", "stopped"}:
            found = self.test["stop_reason"] if phase == "stopped" else "done"
        elif recorded["test"] in {None, "none"}:
            found = "none"
        else:
            found = "done" if recorded["stop_reason"] == "none" else recorded["stop_reason"]
        return str(found)


class _Tester:
    """The test of one pack, and what is said about it."""

    def __init__(self, pack: Pack, serial: str, *, as_json: bool) -> None:
        self._pack = pack
        self._serial = serial
        self._as_json = as_json
        self._shown: tuple[Any, ...] = ()
        self._is_rewritten = False  # the line that was shown last

    async def look(self) -> _Look:
        """How far the test is now."""
        identity = await self._pack.identify()
        if identity.serial != self._serial:
            raise UserError(
                f"echelon: {identity.serial} answers now, the test was of {self._serial}"
            )
        blocks: dict[int, Decoded] = {
            model_id: await self._pack.block(model_id)
            for model_id in (models.SNAPSHOT, models.PROTECTION, models.TEST)
        }
        snapshot, test = blocks[models.SNAPSHOT], blocks[models.TEST]
        return _Look(
            snapshot["Boot"],
            snapshot["Seq"],
            test["Seq"],
            commanded_test(test),
            blocks[models.PROTECTION]["ReqA"],
            snapshot["A"],
        )

    async def start(self, kind: str) -> bool:
        """Start a test; ``False`` when the board refuses."""
        try:
            result = await self._pack.command(STARTS[kind])
        except NoAnswerError as error:
            raise UserError(
                f"echelon: {error}: whether the test was started is not known (try show)"
            ) from error
        if result == codes.CommandResult.DONE:
            self.say("started", f"{kind} test of {self._serial} started", test=kind)
            return True
        refusal = REFUSALS.get(result, f"result {result}")
        self.say("refused", f"the board refuses the {kind} test: {refusal}", reason=refusal)
        return False

    async def watch(self, *, anew: bool) -> _Look:
        """Show the test until it has ended.

        After a command (``anew``) only what the board writes after the first look counts: what
        stands there before may be the end of an earlier test.
        """
        self._is_rewritten = sys.stdout.isatty() and not self._as_json
        first: _Look | None = None
        lost = 0
        while True:
            try:
                look = await self.look()
            except LOOK_ERRORS as error:
                lost += 1
                if lost == LOST_LOOKS:
                    raise UserError(
                        f"echelon: {error}: the test goes on unwatched (try show --watch)"
                    ) from error
            else:
                lost = 0
                first = first or look
                if look.boot != first.boot and (anew or first.is_running):
                    return replace(look, restarted=True)
                if look.is_running:
                    self.show(look)
                elif not anew or look.test_seq > first.seq:
                    return look
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self) -> _Look:
        """Stop the test, and wait until it has."""
        for tries_left in range(STOP_TRIES - 1, -1, -1):
            try:
                result = await self._pack.command(codes.Command.STOP_TEST)
                break
            except LOOK_ERRORS as error:
                if not tries_left:
                    raise UserError(
                        f"echelon: {error}: the test may still be running (try stop again)"
                    ) from error
        if result in REFUSALS:
            raise UserError(f"echelon: the board does not stop the test: {REFUSALS[result]}")
        return await self.watch(anew=True)

    def show(self, look: _Look) -> None:
        """One line, where something is new; on a terminal it is written over."""
        test = look.test
        figures = {
            key: test[key]
            for key in ("test", "phase", "step", "step_count", "elapsed_s", "left_s")
        } | {"requested_current_a": look.requested_a, "current_a": look.current_a}
        at = (test["phase"], test["step"])
        text = (
            f"step {_text(test['step'])}/{_text(test['step_count'])} {test['phase']}: "
            f"asked {_text(look.requested_a)} A, flows {_text(look.current_a)} A, "
            f"{_clock(test['elapsed_s'])} gone, {_clock(test['left_s'])} left"
        )
        if self._is_rewritten:
            print("\r" + text.ljust(78), end="", flush=True)
        elif at != self._shown:
            self.say("progress", text, **figures)
        self._shown = at

    def end(self, look: _Look) -> int:
        """Say how the test ended, with its result; the exit code.

        One that was stopped has none: then that of an earlier test is shown, if there is one.
        """
        outcome, result = look.outcome(), look.test["result"]
        if self._is_rewritten and self._shown:
            print()
        if outcome == "none":
            self.say("result", f"no test of {self._serial} is recorded", outcome="none")
            return EXIT_NO_RESULT
        if outcome != "done":
            reason = STOPS.get(outcome, outcome)
            self.say("result", f"the test was stopped: {reason}", outcome=outcome, reason=reason)
            if look.has_result:
                self._show_result("earlier", f"earlier {result['test']} test", result)
            return EXIT_NO_RESULT
        self._show_result("result", f"{result['test']} test", result, outcome="done")
        return 0

    def _show_result(self, what: str, title: str, result: Message, **more: Any) -> None:
        if self._as_json:
            self.say(what, "", **more, result=result)
        else:
            print_table(f"{title} of {self._serial}", _of_its_kind(result))
            if result["soh_pct"] is None:
                refusal = str(result["refusal"])
                print(f"no state of health: {NO_SOH.get(refusal, refusal)}", flush=True)

    def say(self, what: str, text: str, **figures: Any) -> None:
        """The text, or the figures as JSON."""
        if self._as_json:
            print(json.dumps({"kind": what, "serial": self._serial} | figures), flush=True)
        else:
            print(text, flush=True)


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"


def _of_its_kind(result: Message) -> Message:
    """The result without what only the other kind of test has."""
    if result["test"] == "quick":
        return {key: value for key, value in result.items() if key not in OF_CYCLE}
    cells = [
        {key: value for key, value in cell.items() if key not in OF_PULSED_CELLS}
        for cell in result["cells"]
    ]
    kept = {key: value for key, value in result.items() if key not in OF_PULSES}
    return kept | {"cells": cells}


def _clock(seconds: int | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


async def _stop(tester: _Tester) -> int:
    before = await tester.look()
    after = await tester.stop()
    if before.is_running:
        tester.end(after)
    else:
        tester.say("idle", "no test was running")
    return 0


async def _look(tester: _Tester) -> int:
    look = await tester.look()
    if not look.is_running:
        return tester.end(look)
    tester.show(look)
    return 0


async def _start_or_watch(tester: _Tester, kind: str | None, *, watched: bool) -> int:
    try:
        if kind is not None and not await tester.start(kind):
            return EXIT_NO_RESULT
        if not watched:
            return 0
        return tester.end(await tester.watch(anew=kind is not None))
    except asyncio.CancelledError:  # Ctrl-C
        print("\nasking the board to stop the test", file=sys.stderr, flush=True)
        return tester.end(await tester.stop())


async def _run(args: argparse.Namespace) -> int:
    address = checked_address(args)
    if args.action == "stop" and args.watch:
        raise UserError("echelon: --watch does not go with stop")
    master = master_from(args)
    with closing(master), bus_errors(args):
        pack = Pack(master, address)
        identity = await pack.identify()
        tester = _Tester(pack, identity.serial, as_json=args.json)
        if args.action == "stop":
            return await _stop(tester)
        if args.action == "show" and not args.watch:
            return await _look(tester)
        kind = None if args.action == "show" else args.action
        return await _start_or_watch(tester, kind, watched=args.watch)


def run(args: argparse.Namespace) -> int:
    """Start, stop or watch; exit code 1 when the test gave no result."""
    return asyncio.run(_run(args))
