"""The share of a 1 s cycle that the whole firmware takes on an RP2040, by counted instructions.

    python tests/benchmarks/cycle_share.py [--source DIR]

The application of 16 cells, profile ``nca``, runs first on the desk, against the emulated BQ76952
and modelled cells: 75 cycles of rest, discharge, charge and rest, at the end a cell far above its
limit, and a gateway that polls every second, fetches all details twice, tells the time once and
recalls one reading. Every answer of the chip is recorded. Then the same application runs on the
emulated Cortex-M0+ of ``estimators_cost.py``, on the recorded answers, which the firmware asks for
in the same order or the run ends, and each task's instructions are counted. ``CPI``, clock and
``--source`` are those of ``estimators_cost.py``.

The figure is the dearest period, from a measurement to the next, all that ran in it: tasks, the
loop around them, garbage. In place of its own estimate stands the dearest update of a whole day,
of ``estimators_cost.py``, which is none of the 75. Left out are the first cycle, in which the chip
is configured, and the estimates' saving, once in 300 s; both are printed. What the core only waits
for, the I2C bus at 400 kHz and the line's last character, is no instruction: it is printed beside.

A read's replay stands for the port's own I2C driver, of which nothing else is counted; likewise
the line's. A request comes in one piece. Flash is memory here: saving is counted without writing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

import estimators_cost
import firmware_cycles
from app_rig import Rig
from estimators_cost import CLOCK_HZ, CPI, IMAGE, ROOT, TICKS, core
from firmware_cycles import SAVES_AT

from common import models
from firmware.app import App
from firmware.modbus.rtu import longest_ms
from gateway.modbus.frames import (
    Request,
    RtuFraming,
    read_request,
    read_write_request,
    write_request,
)
from gateway.planner import DETAIL_BLOCKS, Plan

N_CELLS = 16
PROFILE = "nca"
CYCLES = 75
DETAILS_AT = (30, 58)  # 58: a cycle in which the image has most to write, too
TIME_AT = 10
RECALL_AT = 40
FAULT_AT = 70
DEMAND_A = {15: -20.0, 35: -4.0, 40: 8.0, 55: 0.0, 65: 8.0}  # from which cycle on
UNIT = 1
BAUDRATE = 115200
PERIOD_MS = 1000
POLL_MS = 300  # from the measurement to the gateway's first request
PAUSE_MS = 10  # of the gateway, between an answer and the next request
Row = dict[str, int]


class Recorder:
    """An I2C bus that keeps what the chip answered."""

    def __init__(self, i2c: object) -> None:
        self._i2c = i2c
        self.reads = bytearray()

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        self._i2c.readfrom_mem_into(address, register, buffer)
        self.reads += bytes((register, len(buffer))) + bytes(buffer)

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self._i2c.writeto_mem(address, register, buffer)


class RecordingRig(Rig):
    """The desk's rig, with a recorder on its bus and a gateway on its line."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            root, n_cells=N_CELLS, kind="nmc", profile=PROFILE, rated_ah=40.0, soc=0.6
        )

    def boot(self) -> App:
        self.start_ms = self.now_ms
        self.i2c = Recorder(self.i2c)
        self.asks = gateway(self.start_ms)
        self.uart = firmware_cycles.Line(self.asks)
        self.fed_ms.clear()
        self.app = App(self, self.settings)
        return self.app

    def wait(self, until_ms: int) -> None:
        firmware_cycles.wait(self, until_ms)


def requests(cycle: int, plan: Plan) -> "list[Request]":
    """What the gateway asks in a cycle."""
    reads = [models.SNAPSHOT, *(DETAIL_BLOCKS if cycle in DETAILS_AT else ())]
    asked = [
        read_request(UNIT, read.address, read.count)
        for model_id in reads
        for read in plan.reads(model_id)
    ]
    control, layout = plan.addresses[models.CONTROL], plan.layouts[models.CONTROL]
    if cycle == TIME_AT:
        at = control + layout.offset("SetUtc")
        asked.append(write_request(UNIT, at, [0x6A00, 0]))
    if cycle == RECALL_AT:
        read = plan.recall
        at = control + layout.offset("RecSel")
        asked.append(read_write_request(UNIT, read.address, read.count, at, [0, RECALL_AT // 2]))
    return asked


def gateway(start_ms: int) -> "tuple[tuple[int, bytes], ...]":
    """All frames of the gateway and when they come."""
    plan, framing = Plan(N_CELLS), RtuFraming()
    asks = []
    for cycle in range(2, CYCLES + 1):
        at_ms = start_ms + (cycle - 1) * PERIOD_MS + POLL_MS
        for request in requests(cycle, plan):
            frame = framing.encode(request, 0)
            asks.append((at_ms, frame))
            line_ms = longest_ms(len(frame) + 3 + request.answer_bytes, BAUDRATE)
            at_ms += line_ms + PAUSE_MS
    return tuple(asks)


def record() -> SimpleNamespace:
    """The session: see ``firmware_cycles.py``."""
    with tempfile.TemporaryDirectory() as folder:
        rig = RecordingRig(Path(folder))
        app = rig.app
        seq = 0
        while seq <= CYCLES:
            app.step()
            if app.snapshot.seq == seq:
                continue
            seq = app.snapshot.seq
            if seq in DEMAND_A:
                rig.demand(DEMAND_A[seq])
            if seq == FAULT_AT:
                rig.pack.cells.soc[3] = 1.2
        return SimpleNamespace(
            SETTINGS=json.dumps(rig.spec.board_settings()),
            START_MS=rig.start_ms,
            CYCLES=CYCLES,
            READS=bytes(rig.i2c.reads),
            ASKS=rig.asks,
        )


def on_core() -> str:
    """What ``firmware_cycles.main`` prints on the emulated core."""
    with core("-icount", "shift=10,sleep=off", "-monitor", "none") as board:
        code = "import firmware_cycles, session\nfirmware_cycles.main(session)"
        return board.run(code, seconds=600)


def rows(printed: str) -> "list[Row]":
    """What each cycle took, by name; the run must have come to its end as it was recorded."""
    lines = [line.split() for line in printed.splitlines()]
    names = next(words[1:] for words in lines if words[0] == "tasks")
    columns = ["cycle", "all", "garbage", *names, "i2c_us", "line_bytes"]
    left, answers, refused = (int(n) for words in lines if words[0] == "end" for n in words[1:])
    if left or refused or not answers:
        raise ValueError(f"{left} bytes left, {answers} answers, {refused} refused")
    found = [
        dict(zip(columns, map(int, words[1:]), strict=True))
        for words in lines
        if words[0] == "cycle"
    ]
    for row in found:
        row["loop"] = row["all"] - row["garbage"] - sum(row[name] for name in names)
    return found


def instructions(found: "list[Row]") -> "list[Row]":
    """Ticks of the core's timer as instructions."""
    kept = ("cycle", "i2c_us", "line_bytes")
    return [{k: n if k in kept else round(n / TICKS) for k, n in row.items()} for row in found]


def percent(count: float) -> float:
    """Instructions as a part of a second."""
    return count * CPI / CLOCK_HZ * 100


def report(found: "list[Row]", dearest_estimate: int) -> float:
    """Print what the parts take, and give the figure."""
    first, *steady = found
    saving = next(row for row in steady if row["cycle"] == SAVES_AT)
    names = [name for name in first if name not in ("cycle", "all", "i2c_us", "line_bytes")]

    def line(name: str, usual: float, dearest: int, at: int) -> None:
        share = f"{percent(usual):6.2f} %", f"{percent(dearest):6.2f} %"
        print(f"{name:>9} {usual:10.0f} {share[0]} {dearest:10d} {share[1]} {at:8d}")

    print(f"{'part':>9} {'usual instructions':>19} {'dearest':>19} {'in cycle':>8}")
    for name in names:
        column = [(row[name], row["cycle"]) for row in steady if row is not saving]
        dearest, at = max(column)
        line(name, statistics.median(n for n, _ in column), dearest, at)
    whole = [row["all"] for row in steady if row is not saving]
    usual = statistics.median(whole)
    dearest, at = max((row["all"], row["cycle"]) for row in steady if row is not saving)
    line("all", usual, dearest, at)
    at_once = sum(max(row[name] for row in steady if row is not saving) for name in names)
    print(f"each part at its dearest, which no cycle was: {percent(at_once):.1f} %")
    print(f"one update of the estimators takes up to {dearest_estimate} instructions in a day")
    print(f"the first cycle, which configures the chip: {first['all']} instructions")
    print(
        f"the cycle that saves the estimates: {saving['all']}, {saving['store']} of them its store"
    )
    waits = [(row["i2c_us"] / 1000, longest_ms(row["line_bytes"], BAUDRATE)) for row in steady]
    print(
        "waiting, which is no instruction: I2C "
        f"{statistics.median(i2c for i2c, _ in waits):.1f} ms, at most {max(waits)[0]:.1f}; "
        f"answers on the line {statistics.median(ms for _, ms in waits):.0f} ms, "
        f"at most {max(ms for _, ms in waits)}"
    )
    print(f"{percent(usual):.1f} % of a 1 s cycle in a usual one")
    return max(
        percent(row["all"] - row["estimate"] + max(row["estimate"], dearest_estimate))
        for row in steady
        if row is not saving
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--source", metavar="DIR", help="an unpacked MicroPython")
    args = parser.parse_args()
    if args.source:
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name} = {value!r}\n" for name, value in vars(record()).items())
        (IMAGE.parent / "session.py").write_text(text, encoding="utf-8")
        build = ROOT / "tests" / "tools" / "micropython_m0" / "build.sh"
        subprocess.run([build, args.source], check=True)
    elif not IMAGE.exists():
        parser.error(f"{IMAGE.relative_to(ROOT)} is not there: give --source")
    found = instructions(rows(on_core()))
    _usual, dearest = estimators_cost.summary(estimators_cost.on_core("ticks", PROFILE))
    print(f"figure: {report(found, dearest):.3g} % of a 1 s cycle")


if __name__ == "__main__":
    main()
