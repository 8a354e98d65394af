"""Runs on both interpreters: prints what ten days of storage tell of four cells, one leaky."""

import sys
import time

from estimator_cells import Cell, Feeder, aged, ocv_nmc

LEAKS_A = (0.0015, 0.0015, 0.009, 0.0015)
cells = [
    Cell(aged(ocv_nmc, 0.008), ah, soc, 0.0017)
    for ah, soc in ((46.0, 0.62), (44.5, 0.61), (45.0, 0.625), (45.2, 0.615))
]
feeder = Feeder(4, "nmc", 50000, offset_ma=5.0)
feeder.snapshot.switches = 0
feeder.snapshot.afe_dc = 300
for minute in range(10 * 1440 // 5):
    feeder.snapshot.balancing = 2 if minute % 100 < 10 else 0
    feeder.step(0.0, [cells[i].step(-LEAKS_A[i], 300.0) for i in range(4)], dt_ms=300000)
e = feeder.estimators
print("offset", e.offset.bias_ua, e.offset.sigma_ua, int(e.offset.doubt.since(0, 0)))
print("loss", *[int(x) for x in e.self_discharge.figure()])
for cell in range(4):
    print("cell", cell, *[int(x) for x in e.differences.interval(cell)])
    print("leak", cell, int(30 * e.differences.leak[cell]), int(900 * e.differences.ll[cell]))
    print("bled", cell, e.differences.bled_uah[cell])
print("bytes", len(e.state()))
if len(sys.argv) > 1:  # the cost of one cycle
    feeder.snapshot.dt_ms = 1000
    start = time.ticks_us()
    for _ in range(1000):
        e.update(feeder.snapshot)
    print("us", time.ticks_diff(time.ticks_us(), start) // 1000)
