"""Run on MicroPython: what it costs a board to serve its history.

    micropython history_cost.py ROOT [CELLS]

ROOT is an empty folder. Prints records a packet, microseconds and bytes of the heap a packet in
order, the same for packets asked for at random, and bytes of the heap that the history holds.
"""

import gc
import sys
import time
from struct import unpack_from

from common import models
from common.registers import RegisterMap
from firmware.history import History
from firmware.snapshot import Snapshot

UTC_S = 1790000000
N_CELLS = int(sys.argv[2]) if len(sys.argv) > 2 else 16
MINUTES = 700


class Settings:
    serial = "EB-1"
    n_cells = N_CELLS
    rated_mah = 50000
    history_every_s = 60
    history_kb = 832


class Nothing:
    active = 0
    last_fault = None
    last_fault_value = None
    soc_bp = 5000
    soh_bp = 9000
    soh_age_s = None


register_map = RegisterMap(N_CELLS)
s = Snapshot(N_CELLS)
nothing = Nothing()
gc.collect()
before = gc.mem_alloc()
history = History(sys.argv[1], Settings, register_map.block(models.HISTORY), 1)
gc.collect()
held = gc.mem_alloc() - before
noise = 1
for _ in range(MINUTES):
    s.seq += 60
    s.uptime_s += 60
    s.valid = True
    s.delta_uah = -24000 + s.uptime_s % 7000
    noise = (noise * 75 + 74) % 65537
    s.current_ma = noise - 40000
    for i in range(N_CELLS):
        noise = (noise * 75 + 74) % 65537
        s.cell_mv[i] = 3700 - s.seq // 600 + noise % 20
    s.temp_dc[0] = 250 + noise % 3
    s.fet_dc = 300 + noise % 5
    history.cycle(s, nothing, nothing, UTC_S + s.uptime_s)
    for _turn in range(3):
        history.store(s.uptime_s)

into = bytearray(253)
last = history.file.last
gc.collect()
gc.disable()


def least_us(numbers):
    """The quickest of some turns of the same reads, each number's own; their sum and the most."""
    best = [1 << 29] * len(numbers)
    for _ in range(7):
        for k in range(len(numbers)):
            began = time.ticks_us()
            history.file.read(1, numbers[k], 124, into, 4)
            best[k] = min(best[k], time.ticks_diff(time.ticks_us(), began))
        gc.collect()
    return sum(best), max(best)


in_order = []
number = 1
heap = gc.mem_alloc()
while number <= last:
    in_order.append(number)
    history.file.read(1, number, 124, into, 4)
    number += unpack_from("<B", into, 4 + 13)[0]
heap = gc.mem_alloc() - heap
n = len(in_order)
print("records", last * 10 // n, "/ 10 us", least_us(in_order)[0] // n, "bytes", heap // n)
gc.collect()
at_random = [1 + k * 263 % last for k in range(20)]
heap = gc.mem_alloc()
for number in at_random:
    history.file.read(1, number, 124, into, 4)
heap = gc.mem_alloc() - heap
us, most_us = least_us(at_random)
print("at random us", us // 20, "at most", most_us, "bytes", heap // 20)
print("held", held)
