"""Runs one charge through the windows and prints what it tells; on either interpreter."""

import sys

sys.path.insert(0, sys.argv[1])

from common.cells.lco_cs2 import WINDOWS
from firmware.estimators.window import ChargeWindow, from_table
from firmware.snapshot import Snapshot

window = ChargeWindow(3, 1100, from_table(WINDOWS))
snapshot = Snapshot(3)
snapshot.min_dc = snapshot.max_dc = 250
snapshot.dt_ms = 1000
uah = 0
ended = False
current_ma = 550
for second in range(9000):
    if not ended:
        mv = 3650 + second * 550 // 7000  # 550 mV in 7000 s
        if mv >= 4200:
            mv = 4200
            current_ma = max(60, current_ma - 1)
        for i in range(3):
            snapshot.cell_mv[i] = mv - 2 * i
        snapshot.current_ma = current_ma
        total = uah + current_ma * 1000
        snapshot.delta_uah = total // 3600
        uah = total % 3600
        ended = window.update(snapshot)
for i in range(3):
    found = window.evidence(i)
    print(i, int(found[0]), int(found[1] ** 0.5), int(found[2] ** 0.5))
print(" ".join([str(mark) for mark in window.at_uah]))
