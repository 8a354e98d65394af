"""Run on MicroPython: how many bytes of the heap each task of the application takes.

    micropython app_without_allocation.py ROOT CELLS

ROOT is an empty folder. The cells rest, the host asks for every block and writes commands. Prints
one line a task: its name and the bytes it took in ``CYCLES`` cycles of steady work.
"""

import gc
import sys

from common import models
from common.crc import crc16_modbus
from firmware.afe import Afe
from firmware.app import App
from firmware.board import Board
from firmware.settings import Settings

CYCLES = 100
N_CELLS = int(sys.argv[2])
SUM_MV = 4190 * N_CELLS - N_CELLS * (N_CELLS - 1) // 2


class Uart:
    """Gives one request at a time."""

    def __init__(self):
        self.request = bytearray(256)
        self.left = 0
        self.sent = 0

    def any(self):
        return self.left

    def readinto(self, buffer):
        n = self.left
        for i in range(n):
            buffer[i] = self.request[i]
        self.left = 0
        return n

    def write(self, buffer):
        self.sent += 1
        return len(buffer)


class Clock(Board):
    i2c = None
    now_ms = 0

    def __init__(self, root):
        self.root = root
        self.uart = Uart()

    def ticks_ms(self):
        return self.now_ms

    def ticks_us(self):
        return self.now_ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta

    def feed_watchdog(self):
        pass

    def collect_garbage(self):
        pass  # what it would free is what is counted here


class Chip(Afe):
    switches = 0
    balancing = 0

    def configure(self, settings):
        pass

    def read(self, s):
        self.look(s)
        s.delta_uah = 28
        s.balancing = self.balancing

    def look(self, s):
        for i in range(s.n_cells):
            s.cell_mv[i] = 4190 - i
        # Faults come and go.
        s.stack_mv = SUM_MV if s.seq % 50 < 40 else 0
        s.temp_dc[0] = 250
        s.current_ma = 100
        s.switches = self.switches

    def set_switches(self, allowed):
        self.switches = allowed

    def set_balancing(self, cells):
        self.balancing = cells


def frame(*pdu):
    data = b"\x01" + bytes(pdu)
    crc = crc16_modbus(data, 0, len(data))
    return data + bytes((crc & 0xFF, crc >> 8))


def requests(app):
    """Every block, and a write of each writable point."""
    made = []
    for block in app.image.map.blocks:
        at = block.address
        left = block.layout.words
        while left:
            n = min(left, 125)
            made.append(frame(3, at >> 8, at & 255, 0, n))
            at += n
            left -= n
    control = app.image.map.block(models.CONTROL)
    at = control.address + control.layout.offset("Cmd")
    made.append(frame(6, at >> 8, at & 255, 0, 3))
    made.append(frame(6, at >> 8, at & 255, 0, 1))
    made.append(frame(6, at >> 8, at & 255, 0, 2))
    at = control.address + control.layout.offset("RecSel")
    made.append(frame(16, at >> 8, at & 255, 0, 2, 4, 0, 0, 0, 60))
    made.append(frame(16, at >> 8, at & 255, 0, 2, 4, 0, 0, 0, 61))  # one that is not kept
    made.append(frame(43, 14, 1, 0))
    made.append(frame(8, 0, 0, 1, 2))
    made.append(frame(3, 0, 0, 0, 1))
    return made


board = Clock(sys.argv[1])
app = App(board, Settings("P", N_CELLS, "nmc", 100000), Chip())
asked = requests(app)
tasks = [(task.name, task.function) for task in app.executive.tasks]
took = [0] * len(tasks)
before = i = k = 0  # named now: a new global would itself allocate
request = asked[0]
name, function = tasks[0]
app.executive.run_once()


def cycle():
    global before, i, k, request, name, function
    board.now_ms += 1000
    app.executive.tasks[0].due_ms = board.now_ms + 1000
    k += 1
    request = asked[k % len(asked)]
    i = 0
    while i < len(request):
        board.uart.request[i] = request[i]
        i += 1
    board.uart.left = i
    i = 0
    while i < len(tasks):
        name, function = tasks[i]
        before = gc.mem_alloc()
        function()
        if name == "serve":
            board.now_ms += 5
            function()
            board.now_ms -= 5
        took[i] += gc.mem_alloc() - before
        i += 1


def run(cycles):
    for _ in range(cycles):
        cycle()
        app.executive.next_due_ms()


run(120)
gc.collect()
gc.disable()
for i in range(len(took)):
    took[i] = 0
run(CYCLES)
for i in range(len(tasks)):
    print(tasks[i][0], took[i])
print("answers", board.uart.sent)
