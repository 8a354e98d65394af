"""Runs on both interpreters: prints what a guided charge and discharge of a small pack gives."""

from estimator_cells import Bench, Cell, Feeder, aged, ocv_nmc

capacities = (46.0, 44.5, 38.0, 45.2)
cells = [Cell(aged(ocv_nmc, 0.008), ah, 0.3, 0.0017) for ah in capacities]
feeder = Feeder(4, "nmc", 50000, offset_ma=5.0)
bench = Bench(cells, feeder, 4.2, 2.8, 50.0)
bench.rest(130)
bench.charge(0.7, 0.05)
bench.rest(500)
bench.discharge(0.7)
bench.rest(1000)
e = feeder.estimators
print("soc", e.soc_bp, e.soc_lo_bp, e.soc_hi_bp, e.soc_sync)
print("soh", e.soh_bp, e.soh_lo_bp, e.soh_hi_bp, e.soh_method, e.soh.weakest())
for cell in range(4):
    print("cell", cell, *[int(x) for x in e.soh.interval(cell, e.now_s)])
    print("ohm", cell, *[int(x) for x in e.resistance.interval(cell)])
print("life", *e.lifetime.words)
print("bytes", len(e.state()))
