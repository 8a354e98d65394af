"""``echelon demo``: retired packs on a bench, from the cell to the grade, on one desk.

Starts an MQTT broker, the simulated world with the real firmware, the gateway and the grader, each
as a process of its own, and shows what comes out. Everything it started ends with it.
"""

from __future__ import annotations

import functools
import io
import json
import re
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.live import Live

from sim import demo_packs, demo_view
from sim.clock import US_PER_S
from sim.demo_service import Services
from sim.firmware_process import FirmwareError
from sim.recording import RecordingError
from sim.world import World

if TYPE_CHECKING:
    import argparse

    from sim.pack import Pack

HELP = "runs the desk demonstration"

PROFILE = "packgrade-2026-bench"
_STATUS_EVERY_S = 2.0
_DRAW_EVERY_S = 0.25
_GRADE_WAIT_S = 6.0  # real seconds from the end of a test until its grade counts ...
_REFUSAL_WAIT_S = 15.0  # ... and a refusal
_LEG_S = 20.0  # virtual seconds between two looks whether all are graded
_MOST_LAG_S = 1200.0  # virtual: a gateway further behind is given time to catch up
_CATCH_UP_SPEED = 20.0
_BOOT_S = 2.0  # a board's uptime begins a little after the world's time
_SVG_WIDTH = 96


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
    parser.add_argument(
        "--exit-when-graded", action="store_true", help="end when every pack has its grade"
    )
    parser.add_argument(
        "--speed", type=float, default=200.0, help="most times real time (default 200)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the last table as SVG")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep what each process prints")
    replay = parser.add_argument_group("a recorded cell instead of the model")
    replay.add_argument("--replay", type=Path, metavar="FILE", help="a recording, CSV or npz")
    replay.add_argument(
        "--cycle",
        type=int,
        action="append",
        metavar="N",
        help="which cycle of the file; given more than once, one pack each",
    )
    replay.add_argument(
        "--profile", default="nmc", help="cell profile the board assumes (default nmc)"
    )
    replay.add_argument(
        "--capacity", type=float, metavar="AH", help="rated capacity (default: the file's)"
    )


class Demo:
    """The world, what was heard of it on MQTT, and the screen."""

    def __init__(self, world: World, services: Services, titles: dict[str, str]) -> None:
        self.world = world
        self.services = services
        self.rows = {serial: demo_view.Row(title) for serial, title in titles.items()}
        for serial, (at_s, for_s) in demo_packs.UNPLUGGED.items():
            if serial in self.rows:
                world.at(at_s, functools.partial(self._unplug, serial, for_s))
        self._speed = world.clock.speed
        self._done_s: dict[str, float] = {}  # virtual time at which the tester had finished
        self._seen_s: dict[str, float] = {}  # real time at which a reading showed it

    def refresh(self) -> None:
        """Take in what has arrived, and look at the truth."""
        self.services.check()
        for serial, kind, message in self.services.listener.take():
            row = self.rows.get(serial)
            if row is not None:
                self._take(row, kind, message)
        for pack in self.world.packs:
            self._look(pack)
        self._pace()

    def _take(self, row: demo_view.Row, kind: str, message: dict[str, Any]) -> None:
        if kind == "grade":
            row.grade = message
        elif (message["boot"], message["seq"]) >= (
            row.state.get("boot", 0),
            row.state.get("seq", 0),
        ):
            row.state = message  # a recalled reading never hides a newer one
            if row.unplugging is not None:
                row.unplugging.take(message)

    def _unplug(self, serial: str, for_s: float) -> None:
        pack = next(pack for pack in self.world.packs if pack.spec.serial == serial)
        self.rows[serial].unplugging = demo_view.Unplugging(
            self.world.time_s, for_s, pack.activity, self.rows[serial].state
        )
        self.world.unplug(pack, for_s)

    def _look(self, pack: Pack) -> None:
        serial = pack.spec.serial
        row = self.rows[serial]
        row.truth = truth_of(self.world, pack)
        row.step = pack.activity
        row.plugged = pack.plugged
        if pack.finished:
            done_s = self._done_s.setdefault(serial, self.world.time_s)
            read_s = self._read_s(pack)
            if read_s is not None and read_s + _BOOT_S >= done_s:
                self._seen_s.setdefault(serial, time.monotonic())

    def _pace(self) -> None:
        """Slow the world down while the gateway is behind, as on a machine that is too slow."""
        newest = [
            read_s for pack in self.world.packs if (read_s := self._read_s(pack)) is not None
        ]
        behind = self.world.time_s - min(newest, default=self.world.time_s) > _MOST_LAG_S
        speed = _CATCH_UP_SPEED if behind else self._speed
        if speed != self.world.clock.speed:
            self.world.clock.set_speed(speed)

    def _read_s(self, pack: Pack) -> float | None:
        """Virtual time of the newest reading; ``None`` when its board has restarted since."""
        station = self.world.station(pack)
        state = self.rows[pack.spec.serial].state
        if not pack.plugged or state.get("boot", station.boots) != station.boots:
            return None
        return station.booted_us / US_PER_S + (state.get("uptime_s") or 0.0)

    def graded(self) -> bool:
        """Whether every pack has been tested to the end and has its grade.

        A grade that refuses counts only when it has stood for a while, for evidence of the test's
        last minutes may still be on its way.
        """
        for serial, row in self.rows.items():
            if serial not in self._seen_s or not row.grade:
                return False
            stood_s = time.monotonic() - self._seen_s[serial]
            if stood_s < (_REFUSAL_WAIT_S if row.grade["route"] == "hold" else _GRADE_WAIT_S):
                return False
        return True

    def table(self) -> object:
        """The table as it stands."""
        world = self.world
        return demo_view.table(list(self.rows.values()), world.time_s, world.speed_achieved())


def truth_of(world: World, pack: Pack) -> dict[str, Any]:
    """The simulator's truth in the units of the readings; ``None`` where it has none."""
    truth = world.truth(pack)

    def percent(value: float | None) -> float | None:
        return None if value is None else round(100 * value, 2)

    cells = _known(truth["cell_soh"])
    charge = _known(truth["cell_soc"])
    weakest = cells.index(min(cells)) + 1 if cells else None
    return {
        # the mean cell, as the board's SOC is
        "soc_pct": percent(sum(charge) / len(charge) if charge else None),
        "soh_pct": percent(truth.get("soh")),
        "weakest_cell": weakest,
        "weakest_cell_soh_pct": percent(min(cells, default=None)),
    }


def _known(values: list[float | None]) -> list[float]:
    """The values, or nothing at all where one is not known."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def print_json(message: dict[str, Any]) -> None:
    """One object, one line, at once."""
    sys.stdout.write(json.dumps(message, separators=(", ", ": ")) + "\n")
    sys.stdout.flush()


def build(world: World, args: argparse.Namespace) -> dict[str, str]:
    """Put the packs on the desk; returns the title of each serial number."""
    buses = demo_packs.retired_packs()
    if args.replay:
        buses = demo_packs.recorded_packs(
            args.replay, args.cycle or [None], args.profile, args.capacity
        )
    titles: dict[str, str] = {}
    for name, packs in buses.items():
        added = []
        for title, spec in packs:
            titles[spec.serial] = title
            added.append(world.add_pack(spec))
        world.add_bus(name, 115200, added)
    return titles


def run(args: argparse.Namespace) -> int:
    """Run the demonstration; 0 when it ended as asked, 2 when its input cannot be used."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="echelon-")))
            logs = args.logs or folder
            logs.mkdir(parents=True, exist_ok=True)
            world = stack.enter_context(
                World(args.seed, args.speed, folder=folder / "boards", logs=logs)
            )
            titles = build(world, args)
            services = stack.enter_context(Services(world, folder, logs, PROFILE))
            world.start()
            _show(Demo(world, services, titles), args)
    except (RecordingError, FirmwareError, ValueError, OSError) as error:
        sys.stderr.write(f"echelon demo: {error}\n")
        return 2
    return 0


def _show(demo: Demo, args: argparse.Namespace) -> None:
    if args.json:
        _show_json(demo, args.exit_when_graded)
    else:
        with Live(get_renderable=demo.table, auto_refresh=False) as live:  # type: ignore[arg-type]
            _loop(demo, args.exit_when_graded, _DRAW_EVERY_S, live.refresh)
    if args.svg:
        console = Console(record=True, width=_SVG_WIDTH, file=io.StringIO())
        console.print(demo.table())
        svg = console.export_svg(title="make demo")
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # no fonts from elsewhere
        args.svg.write_text(svg, encoding="utf-8")


def _show_json(demo: Demo, exit_when_graded: bool) -> None:
    def report() -> None:
        for row in demo.rows.values():
            print_json(demo_view.as_json(row, demo.world.time_s))

    _loop(demo, exit_when_graded, _STATUS_EVERY_S, report)
    for row in demo.rows.values():
        if row.unplugging is not None:
            print_json(demo_view.unplugging_as_json(row, row.unplugging))
    for row in demo.rows.values():
        print_json(demo_view.grade_as_json(row))


def _loop(demo: Demo, exit_when_graded: bool, every_s: float, show: Any) -> None:
    last_s = 0.0

    def idle() -> None:
        nonlocal last_s
        demo.refresh()
        if time.monotonic() - last_s >= every_s:
            last_s = time.monotonic()
            show()

    while not (exit_when_graded and demo.graded()):
        demo.world.run(until_s=demo.world.time_s + _LEG_S, idle=idle)
    demo.refresh()
    show()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
