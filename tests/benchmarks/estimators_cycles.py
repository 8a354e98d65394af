"""A pack's day in short, and what each ``Estimators.update`` of it costs; runs on MicroPython.

``main("bytes" | "us" | "ticks", PROFILE)`` prints a line a cycle: what the cycle was and its cost.
Bytes are of the heap, with collection off; ``ticks`` are of a 16 MHz timer of the nRF51, which
QEMU drives by counted instructions.
"""

import gc

try:
    from machine import mem32
except ImportError:  # CPython
    mem32 = None
try:
    from time import ticks_us
except ImportError:  # CPython
    ticks_us = None

from common.profiles import profile
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.snapshot import Snapshot

N_CELLS = 16
RATED_MAH = 100000
# what, current in parts of rated, seconds a cycle, cycles at most; charges end by their taper
DAY = (
    ("rest", 0.0, 30, 40),
    ("charge", 0.5, 30, 300),
    ("rest", 0.0, 30, 40),
    ("discharge", -0.4, 30, 100),
    ("steps", -0.3, 1, 60),
    ("steady", -0.2, 1, 120),
    ("discharge", -0.4, 30, 300),
    ("rest", 0.0, 30, 40),
    ("charge", 0.5, 30, 300),
)
_TIMER = 0x40008000


class Pack:
    """Cells that follow the profile's own table with a resistance; 1 mV from cell to cell."""

    def __init__(self, name: str) -> None:
        self.profile = profile(name)
        self.soc_bp = 3000.0
        self.s = Snapshot(N_CELLS)
        self.s.valid = True
        self.s.min_dc = self.s.max_dc = 250
        self._uah = 0.0

    def step(self, ma: int, dt_ms: int) -> None:
        """Fill the snapshot with the next cycle."""
        s = self.s
        uah = ma * dt_ms / 3600 + self._uah
        s.delta_uah = int(uah)
        self._uah = uah - s.delta_uah
        s.current_ma = ma
        s.dt_ms = dt_ms
        self.soc_bp += s.delta_uah / (RATED_MAH * 0.09)
        mv = self.rested_mv() + ma * self.profile.r_ref_uohm_ah // (RATED_MAH * 1000)
        mv = min(mv, self.profile.cell_full_mv)
        for i in range(N_CELLS):
            s.cell_mv[i] = mv - i
        s.min_mv, s.max_mv = mv - N_CELLS + 1, mv
        s.min_cell = N_CELLS - 1
        s.sum_mv = sum(s.cell_mv)

    def rested_mv(self) -> int:
        """The table at the present charge."""
        soc, ocv = self.profile.soc_bp, self.profile.ocv_mv
        k = 1
        while k < len(soc) - 1 and soc[k] < self.soc_bp:
            k += 1
        part = (self.soc_bp - soc[k - 1]) / (soc[k] - soc[k - 1])
        return int(ocv[k - 1] + part * (ocv[k] - ocv[k - 1]))


def cycles(name: str):
    """``(what, snapshot)`` of each cycle of the day."""
    pack = Pack(name)
    full_mv = pack.profile.cell_full_mv
    for what, rate, seconds, most in DAY:
        ma = int(rate * RATED_MAH)
        k = 0
        while k < most:
            k += 1
            now_ma = ma if what != "steps" or k // 4 % 2 else ma // 4
            pack.step(now_ma, seconds * 1000)
            yield what, pack.s
            if what == "charge" and pack.s.max_mv >= full_mv:
                ma = ma * 9 // 10
                if ma < RATED_MAH // 40:
                    break
            if what == "discharge" and pack.s.min_mv < pack.profile.cell_empty_mv:
                break


def reader(mode: str):
    """The function that reads what is counted."""
    if mode == "bytes":
        return gc.mem_alloc
    if mode == "us":
        return ticks_us
    mem32[_TIMER + 0x508] = 3  # 32 bits
    mem32[_TIMER + 0x510] = 0  # 16 MHz
    mem32[_TIMER] = 1

    def ticks() -> int:
        mem32[_TIMER + 0x40] = 1  # capture
        return mem32[_TIMER + 0x540]

    return ticks


def cost(read, function, s: Snapshot) -> int:
    """What ``function(s)`` takes, with the reading itself."""
    gc.collect()
    gc.disable()
    before = read()
    function(s)
    after = read()
    gc.enable()
    return after - before & 0xFFFFFFFF


def main(mode: str, name: str) -> None:
    """Run the day."""
    read = reader(mode)
    gc.collect()
    before = gc.mem_alloc()
    estimators = Estimators(Settings("P", N_CELLS, name, RATED_MAH))
    gc.collect()
    print("object", gc.mem_alloc() - before)
    s = Snapshot(N_CELLS)
    own = min([cost(read, _nothing, s) for _ in range(10)])
    for what, s in cycles(name):
        print(what, cost(read, estimators.update, s) - own)
    print("known", int(estimators.soh_bp is not None), estimators.resistance.count)


def _nothing(s: Snapshot) -> None:
    pass
