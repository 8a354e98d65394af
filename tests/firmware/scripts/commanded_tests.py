"""Run on both interpreters: a quick test and a full test of a bench pack, and what they found.

    micropython commanded_tests.py

Prints the result of each as ``name value`` lines in register units. On MicroPython the last two
lines are ``most BYTES`` and ``mean BYTES``: what a cycle of a running test took from the heap.
"""

import gc

from commanded_bench import Bench

from common.codes import Test

NAMES = (
    "ResTst", "EndStop", "ResRef", "ResMth", "ResDur", "RteC", "ChaAh", "DisAh", "ChaWh", "DisWh",
    "Soh", "SohLo", "SohHi",
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


for kind, dt_ms in ((Test.QUICK, 1000), (Test.FULL, 4000)):
    bench = Measured(soc=0.9 if kind == Test.FULL else 0.5, dt_ms=dt_ms)
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
if hasattr(gc, "mem_alloc"):
    print("most", worst)
    print("mean", total // cycles)
