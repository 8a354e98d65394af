"""How fast a gateway that was away fetches a board's history, on a bus that goes on with its work.

    python tests/benchmarks/history_fill.py [--days 14] [--board-ms 30]

One bus of 115200 baud in virtual time, whose characters take what they take on an RS-485 line
(``sim.rs485``). Two packs of 16 cells are polled every second and asked for their details every
minute, as by default; one of them has recorded for so many days while nobody asked. The records
are the firmware's own, behind its own function 20; a board takes ``--board-ms`` to answer for
history, which stands for an RP2040's interpreter and flash, and 5 ms for anything else. What the
spool's commits take counts as it takes here. Checks that each record arrives once, in order, on
an unbroken chain, and that no poll is late. The last line: records a second while the gap lasts.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))  # else folders of tests hide the packages

from gateway_fakes import FakePack, MemoryBus, MemoryLine, run_virtual
from recording_pack import RecordingPack

from common import models
from gateway.bus import Bus
from gateway.collector import PackCollector, Rates
from gateway.history_packets import Chain
from gateway.modbus.line import Port
from gateway.modbus.master import Master, Timing
from gateway.pack import Pack
from gateway.planner import Plan
from gateway.spool import Spool
from sim.rs485 import Line

BAUDRATE = 115200
ANSWER_S = 0.005
HISTORY = 20
POLL_S, DETAIL_S = 1.0, 60.0


class TimedLine(MemoryLine):
    """Characters take their time; whoever writes is told when the answer began."""

    wire = Line(BAUDRATE)

    def write(self, data):
        self.bus.asked = data
        super().write(data)


class TimedBus(MemoryBus):
    """Packs on an RS-485 line."""

    def __init__(self, packs, board_s):
        super().__init__(packs, self.delayed)
        self.asked = b""
        self.board_s = board_s
        self.polls = {unit: [] for unit in packs}
        self.poll_words = Plan(16).reads(models.SNAPSHOT)[0].count

    async def open(self):
        self.opened += 1
        return TimedLine(self)

    def delayed(self, frame):
        wire = TimedLine.wire
        line_s = (wire.duration_us(len(self.asked)) + wire.duration_us(len(frame))) / 1e6
        if frame[1] == 3 and len(frame) == 5 + 2 * self.poll_words:
            self.polls[frame[0]].append(asyncio.get_running_loop().time())
        return [(line_s + (self.board_s if frame[1] == HISTORY else ANSWER_S), frame)]


class TimedSink:
    """A spool whose commits take, in virtual time, what they take."""

    def __init__(self, path):
        self.spool = Spool(path, 1 << 30)
        self.commit_s = 0.0

    async def store(self, records, progress=None, history=None):
        began_s = time.perf_counter()
        self.spool.commit(
            records, [progress] if progress else [], [], history=[history] if history else []
        )
        took_s = time.perf_counter() - began_s
        self.commit_s += took_s
        await asyncio.sleep(took_s)

    async def progress(self, serial):
        return self.spool.progress(serial)

    async def history(self, serial):
        return self.spool.history(serial)

    def online(self, identity, name):
        pass

    def offline(self, serial):
        raise AssertionError(serial)

    def claim(self, serial, unit):
        return None


async def filled(fakes, sink, board_s, last):
    """Virtual seconds that the gap took, and the bus."""
    loop = asyncio.get_running_loop()
    timed = TimedBus(fakes, board_s)
    master = Master(timed.open, Port("/dev/memory").framing(), Timing.at(BAUDRATE, 0.3, 0.5))
    rates = Rates(POLL_S, DETAIL_S)
    bus = Bus("bay", master, [PackCollector(Pack(master, unit), rates, sink) for unit in fakes])
    for fake in fakes.values():
        fake.measure()
    running = asyncio.ensure_future(bus.run(lambda: None))
    began_s = None
    while True:
        await asyncio.sleep(1.0)
        for fake in fakes.values():
            fake.measure()
        chain = sink.spool.history("EB-1")
        if chain is not None:
            began_s = began_s or loop.time() - 1.0
            if chain.number >= last:
                break
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return loop.time() - began_s, timed


def fill(root: Path, days: float, board_s: float) -> float:
    """Records a second; ``AssertionError`` when anything is not as promised."""
    fakes = {1: RecordingPack(root), 2: FakePack("EB-2")}
    bench = fakes[1].bench
    for _ in range(round(days * 1440)):
        bench.minute()
    last = bench.history.file.last
    sink = TimedSink(root / "spool.db")
    took_s, timed = run_virtual(filled(fakes, sink, board_s, last))

    rows = sink.spool.fetch(0, 10**9)
    numbers = [row.record.seq for row in rows if row.record.kind == "history"]
    assert numbers == list(range(1, last + 1)), "each once, in order"
    broken = [
        row.record.seq
        for row in rows
        if row.record.kind == "history"
        and (m := json.loads(row.record.payload))
        and (m["chain_ok"] is False or bytes.fromhex(m["record"]) != bench.sent[m["number"]])
    ]
    assert not broken
    assert sink.spool.history("EB-1") == Chain(last, bench.read().chain.value)
    for times in timed.polls.values():
        gaps = [b - a for a, b in itertools.pairwise(times[3:])]
        print(f"polls every {min(gaps):.3f} to {max(gaps):.3f} s")
        assert len(gaps) >= took_s - 5
        assert max(gaps) < POLL_S + 0.25, "a poll and the details of both may stand before it"
    sink.spool.close()
    print(f"{last} records in {took_s:.0f} s, {sink.commit_s:.1f} s of them commits")
    return last / took_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=14.0)
    parser.add_argument("--board-ms", type=float, default=30.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        rate = fill(Path(root), args.days, args.board_ms / 1000)
    print(f"figure: {rate:.0f} records/s")


if __name__ == "__main__":
    main()
