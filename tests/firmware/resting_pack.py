"""A pack at rest, and a board whose clock moves when it waits: for scripts in any interpreter."""

from firmware.afe import Afe
from firmware.board import Board


class Chip(Afe):
    """Cells that rest."""

    switches = 0

    def configure(self, settings):
        pass

    def read(self, s):
        for i in range(s.n_cells):
            s.cell_mv[i] = 3700 + i
        s.stack_mv = 14806
        s.temp_dc[0] = 250
        s.switches = self.switches

    look = read

    def set_switches(self, allowed):
        self.switches = allowed

    def set_balancing(self, cells):
        pass


class Desk(Board):
    """Nothing is wired to it."""

    i2c = None
    now_ms = 0
    fed_ms = 0

    def ticks_ms(self):
        return self.now_ms

    ticks_us = ticks_ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta

    def wait(self, until_ms):
        self.now_ms = max(self.now_ms, until_ms)

    def feed_watchdog(self):
        self.fed_ms = self.now_ms
