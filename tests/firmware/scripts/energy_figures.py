"""Runs on both interpreters: energy, power and efficiency after a small pack's intake."""

from estimator_cells import Bench, Cell, Feeder, ocv_nmc

from common.profiles import profile
from firmware.estimators import ocv

feeder = Feeder(2, "nmc", 2000)
cells = [Cell(ocv_nmc, 1.8, 0.5, 0.035), Cell(ocv_nmc, 1.75, 0.5, 0.04)]
pack = Bench(cells, feeder, 4.2, 2.8, 2.0)
pack.intake(0.7, 1000)
pack.run(0.7, 1800)
estimators = feeder.estimators
figures = (ocv.mean_mv(profile("nmc"), 1234.0, 8765.0),)
for found in (estimators.remaining_wh(), estimators.energy.power(8000)):
    figures += found
figures += estimators.efficiency.figure()
for figure in figures:
    print(round(figure, 2))
