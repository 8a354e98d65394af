"""Run on both interpreters: quick and full tests of bench packs, and what they found.

One of either has no pulse model, and a table that ends where the charge does; the others have.

    micropython commanded_tests.py

Prints the result of each as ``name value`` lines in register units. On MicroPython the last two
lines are ``most BYTES`` and ``mean BYTES``: what a cycle of a running test took from the heap.
"""

import gc

from commanded_bench import Bench

from common.codes import Test
from firmware.estimators.estimators import Estimators

NAMES = (
    "ResTst", "EndTst", "EndStop", "ResRef", "ResMth", "ResDur", "RteC",
    "ChaAh", "DisAh", "ChaWh", "DisWh", "Soh", "SohLo", "SohHi",
)  # fmt: skip
worst = before = took = total = cycles = 0


class Measured(Bench):
    def judge(self):
        global worst, before, took, total, cycles
        self.protection.update(self.s)
        if not hasattr(gc, "mem_alloc"):
            ended = self.tests.update(self.s, self.protection)
        else:
            before = gc.mem_alloc()
            ended = self.tests.update(self.s, self.protection)
            self.tests.publish(self.s.seq, 5000)
            took = gc.mem_alloc() - before
            if self.tests.running:
                worst = max(worst, took)
                total += took
                cycles += 1
        if ended:
            self.tests.finish(None)


def take_up(bench):
    """What HEALTH makes of the pulses, twice, and after a restart."""
    estimators = Estimators(bench.settings)
    for _ in range(2):
        estimators.pulses(bench.tests.found, bench.tests.refusal)
    for _ in range(2):
        for name in ("soh_bp", "soh_lo_bp", "soh_hi_bp", "soh_method", "refusal"):
            print(name, getattr(estimators, name))
        for cell in range(4):
            for value in estimators.soh.interval(cell, 0):
                print("cell", int(value + 0.5))
        data = estimators.state()
        estimators = Estimators(bench.settings)
        estimators.restore(data)


TESTS = (
    (Test.QUICK, "nmc", 1000, 8.0),
    (Test.FULL, "nmc", 4000, 8.0),
    (Test.QUICK, "lmo-10ah", 1000, 12.0),
    (Test.FULL, "lfp", 4000, 8.0),
)
for kind, profile, dt_ms, mohm in TESTS:
    bench = Measured(soc=0.9 if kind == Test.FULL else 0.5, profile=profile, dt_ms=dt_ms)
    bench.r_mohm = [mohm] * 4
    bench.start(kind)
    while bench.tests.busy:
        gc.collect()
        gc.disable()
        bench.cycle(20)
        gc.enable()
    for name in NAMES:
        print(name, bench.block.get(name))
    for cell in range(4):
        for name in ("R", "RLo", "RHi", "Soh", "SohLo", "SohHi", "Ref"):
            print(name, bench.block.get_cell(name, cell))
    if profile == "lmo-10ah":
        take_up(bench)
if hasattr(gc, "mem_alloc"):
    print("most", worst)
    print("mean", total // cycles)
