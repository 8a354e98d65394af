"""Run on MicroPython: measurement, protection, balancing and the executive allocate nothing."""

import gc

from firmware.afe import Afe
from firmware.balancing import Balancing
from firmware.board import Board
from firmware.executive import Executive
from firmware.measurement import Measurement
from firmware.protection import Protection
from firmware.settings import Settings
from firmware.snapshot import Snapshot


class Clock(Board):
    now_ms = 0

    def ticks_ms(self):
        return self.now_ms

    def ticks_us(self):
        return self.now_ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta


class Chip(Afe):
    def configure(self, settings):
        pass

    def read(self, s):
        for i in range(s.n_cells):
            s.cell_mv[i] = 4190 - i
        s.stack_mv = 16 * 4182
        s.temp_dc[0] = 250
        s.current_ma = 100

    def set_switches(self, allowed):
        pass

    def set_balancing(self, cells):
        pass


settings = Settings("P", 16, "nmc", 100000)
board = Clock()
measurement = Measurement(Chip(), settings, board)
protection = Protection(settings)
balancing = Balancing(settings)
snapshot = Snapshot(16)
faulty = 0
before = after = 0  # named now: a new global would itself allocate


def cycle():
    measurement.cycle(snapshot)
    snapshot.faults |= faulty
    protection.update(snapshot)
    measurement.set_switches(protection.allowed)
    measurement.set_balancing(balancing.choose(snapshot, protection.allowed))


executive = Executive(board, (("measure", 1000, cycle),))


def run(cycles):
    global faulty
    for i in range(cycles):
        faulty = 1 << 12 if i % 50 > 40 else 0  # faults come and go
        board.now_ms += 1000
        executive.run_once()
        executive.next_due_ms()


run(200)
gc.collect()
gc.disable()
before = gc.mem_alloc()
run(200)
after = gc.mem_alloc()
print(after - before, "bytes")
