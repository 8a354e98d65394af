"""Run on MicroPython: crash, start again, end up in safe mode, leave it by command.

    micropython safe_mode.py ROOT

ROOT is an empty folder. Prints what each start says, and last what the tasks of a board in safe
mode take of the heap.
"""

import gc
import json
import sys

from resting_pack import Chip

from common import models
from common.codes import Command, ResetCause
from firmware import main
from firmware.board import Board

CYCLES = 100


class Desk(Board):
    name = "script"
    i2c = None
    now_ms = (1 << 30) - 20000  # the clock wraps in the middle
    resets = 0
    collecting = True

    def __init__(self, root):
        self.root = root
        self.reset_cause = ResetCause.SOFT

    def ticks_ms(self):
        return self.now_ms

    ticks_us = ticks_ms

    def ticks_diff(self, later, earlier):
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    def ticks_add(self, ticks, delta):
        return (ticks + delta) & 0x3FFFFFFF

    def wait(self, until_ms):
        if self.ticks_diff(until_ms, self.now_ms) > 0:
            self.now_ms = until_ms

    def feed_watchdog(self):
        pass

    def collect_garbage(self):
        if self.collecting:
            gc.collect()

    def reset(self):
        self.resets += 1

    def make_afe(self, settings):
        return Chip()


root = sys.argv[1]
with open(root + "/settings.json", "w") as file:  # noqa: PTH123
    json.dump({"serial": "P", "n_cells": 4, "profile": "nmc", "rated_mah": 10000}, file)
board = Desk(root)
apps = []


def run(work):
    def ready(app):
        device = app.image.map.block(models.DEVICE)
        print("mode", device.get("Mode"), "crashes", device.get("NCrash"))
        apps.append(app)
        for _ in range(20):
            app.step()
        assert app.protection.allowed == 3, app.protection.allowed
        work(app)

    try:
        main.run(lambda settings: board, root + "/settings.json", ready)
    except Exception as error:
        print("ended:", error)
    assert apps[-1].afe.switches == 0


def broken():
    raise ValueError("broken")


def task_of(app, name):
    return next(task for task in app.executive.tasks if task.name == name)


def break_measure(app):
    app.executive.tasks[0].function = broken


def break_estimate(app):
    break_measure(app)
    task_of(app, "estimate").function = broken
    app.executive.tasks[0].function = app._measure
    for _ in range(10):
        app.step()
    assert app.protection.allowed == 3
    assert app.image.map.block(models.DEVICE).get("TskOff") == 4
    break_measure(app)


def look_and_leave(app):
    assert app.safe
    gc.collect()
    gc.disable()
    app.board.collecting = False
    before = after = i = 0
    while i < 2 * CYCLES:
        if i == CYCLES:
            before = gc.mem_alloc()
        app.step()
        i += 1
    after = gc.mem_alloc()
    gc.enable()
    app.board.collecting = True
    took.append(after - before)
    app.command(Command.LEAVE_SAFE_MODE)


took = []
run(break_measure)
run(break_estimate)
run(break_measure)
run(look_and_leave)
assert board.resets == 4
run(break_measure)
print(took[0], "bytes in", CYCLES, "cycles")
