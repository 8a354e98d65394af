"""Runs on both interpreters: a drive of the NCA circuit; on MicroPython its cost and growth."""

import sys
import time

from common.cells import circuit
from firmware.estimators.soc_filter import SocFilter

follow = SocFilter(circuit("nca"), 2900, 1.7)
follow.start(75.0, 10.0)


def drive(first, count):
    update = follow.update
    for k in range(first, first + count):
        ma = (-2900, 1000, -5000, -300)[k % 4] if k // 600 % 2 else -150
        update(3880 - k // 30 + ma // 60, ma, 250 - k // 100, ma * 10 // 36, 1000)


drive(0, 200)
start_us = grown = 0
if sys.implementation.name == "micropython":
    import gc

    gc.collect()
    grown = gc.mem_alloc()
    start_us = time.ticks_us()
drive(200, 4000)
for figure in (follow.z, follow.sigma(), follow.bias_mv, follow.rho_pct):
    print(round(figure, 3))
if start_us:
    took_us = time.ticks_diff(time.ticks_us(), start_us) / 4000
    gc.collect()
    print(took_us, gc.mem_alloc() - grown)
