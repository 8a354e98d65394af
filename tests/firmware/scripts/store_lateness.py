"""Run on MicroPython: how much later than due the board measures and looks while it writes flash.

    micropython store_lateness.py ERASE_US PROGRAM_US SAVES SECONDS

Records are on littlefs on simulated flash that takes ERASE_US for a block and PROGRAM_US for a
page; every other task takes what it may take on an RP2040. SAVES says whether all records are due
to be saved all the time, or none ever. Prints saves, erases, and of measure and guard the longest
that one came after its time, in ms; then the longest between two looks at the pack.
"""

import sys

from cutting import PLACE, Flash
from resting_pack import Chip, Desk

from firmware.app import App
from firmware.settings import Settings

# Of a cycle on an RP2040 with 16 cells: usual, and every third longer than it ever gets.
TOOK_MS = {"measure": (60, 70), "guard": (12, 25), "balance": (4, 8), "estimate": (10, 90),
           "test": (1, 4), "image": (40, 310), "settings": (1, 2), "keep": (15, 20)}  # fmt: skip


class BusyDesk(Desk):
    """Whose clock moves by what its tasks and its flash take."""

    root = PLACE
    now_us = 0

    def ticks_ms(self):
        return self.now_us // 1000

    def ticks_us(self):
        return self.now_us

    def wait(self, until_ms):
        self.now_us = max(self.now_us, until_ms * 1000)

    def spend(self, us):
        self.now_us += us


board = BusyDesk()
flash = Flash(256, 64)
app = App(board, Settings("P", 4, "nmc", 10000), Chip())
flash.chip.log = None
flash.chip.erase_us, flash.chip.program_us = int(sys.argv[1]), int(sys.argv[2])
flash.chip.spend = board.spend
saving = sys.argv[3] == "1"
late_ms = {"measure": 0, "guard": 0}
looked_us = 0
gap_us = 0
saves = 0


def taking(task):
    work = task.function

    def function():
        global looked_us, gap_us
        if task.name in late_ms:
            gap_us = max(gap_us, board.now_us - looked_us)
            looked_us = board.now_us
        work()
        board.now_us += 1000 * TOOK_MS[task.name][app.snapshot.seq % 3 == 0]

    return function


def schedule(task, late):
    if task.name in late_ms:
        late_ms[task.name] = max(late_ms[task.name], late)
    usual(task, late)


def noted(name, length, parts):
    global saves
    saves += 1
    save_parts(name, length, parts)


for task in app.executive.tasks:
    if task.name in TOOK_MS:
        task.function = taking(task)
for _ in range(20):
    app.step()
usual = app.executive._schedule
app.executive._schedule = schedule
save_parts = app.storage.save_parts
app.storage.save_parts = noted
late_ms["measure"] = late_ms["guard"] = gap_us = 0
erases = sum(flash.chip.erases)
while board.now_us < int(sys.argv[4]) * 1000000:
    app._saved_s = app.snapshot.uptime_s - (300 if saving else 0)
    app.step()
print(saves, sum(flash.chip.erases) - erases, late_ms["measure"], late_ms["guard"], gap_us // 1000)
