"""Runs on both interpreters: prints what a fault memory tells and what it saves."""

import sys

from core_fakes import healthy, nmc, set_cells

from common.codes import Fault
from firmware.fault_memory import FaultMemory
from firmware.image import Image
from firmware.protection import Protection
from firmware.storage import Storage

storage = Storage(sys.argv[1])
settings = nmc()
for boot in (1, 2):
    image = Image(settings, boot, 1, "0", "desk", "fake", 1)
    faults = FaultMemory(storage.load("faults"))
    faults.begin(image, boot)
    print(boot, faults.ever)
    protection = Protection(settings)
    s = healthy()
    for cycle in range(1, 9):
        s.seq = s.uptime_s = cycle
        set_cells(s, [3700, 3700, 4300 if cycle % 6 > 2 else 3700, 3600])
        s.switches = 3
        s.current_ma = 1234
        if cycle == 5:
            image.set_utc(1795000000, cycle)
        protection.update(s)
        if protection.tripped:
            faults.take(s, protection)
        if faults.due(cycle):
            faults.save(storage, cycle)
    faults.tell(Fault.CELL_OVER_VOLTAGE, s.seq)
    print(image.faults.bytes().hex())
    print(storage.load("faults").hex())
