"""Runs on both interpreters: fills the image of CELLS cells, BLED of which are bled (bits).

    image_update.py CELLS BLED

Does so a hundred times and prints it.

Last line, on MicroPython only: how many bytes of the heap that took.
"""

import gc
import sys

from firmware.image import Image
from firmware.settings import Settings
from firmware.snapshot import Snapshot


class Protection:
    active = 5
    latched = 4
    warned = 7
    allowed = 3
    connected = True
    state = 3
    ccl_ma = 20000
    dcl_ma = 40000
    cvl_mv = 67000
    ccl_why = 1
    dcl_why = 0
    cvl_why = 1
    n_faults = 2
    last_fault = 2
    last_fault_s = 33
    last_fault_value = -1490


class Estimators:
    soc_bp = 5123
    soc_lo_bp = 4900
    soc_hi_bp = 5300
    soc_sync = 2
    soc_age_s = 100
    soh_bp = None
    soh_lo_bp = None
    soh_hi_bp = None
    soh_method = 0
    soh_age_s = None
    fec_centi = 12345

    def publish_health(self, block):
        block.set("SohN", 3)

    def reckon(self):
        pass

    def publish_energy(self, block):
        block.set("SelfDis", 300)

    def publish_lifetime(self, block):
        block.set("NDeep", 1)


class Task:
    name = "measure"
    longest_us = 1234


class Executive:
    tasks = [Task()]
    loop_us = 2345
    overruns = 1


class Afe:
    signature = 0xCAFE
    errors = 3


N_CELLS, BLED = [int(text) for text in sys.argv[1:3]]
image = Image(Settings("PACK-0001", N_CELLS, "nmc", 40000), 7, 1, "0.1.0", "unix", "bq76952")
image.set_utc(1800000000, 0)
snapshot = Snapshot(N_CELLS)
snapshot.valid = True
for cell in range(N_CELLS):
    snapshot.cell_mv[cell] = 3700 + cell
snapshot.sum_mv = sum(snapshot.cell_mv)
snapshot.stack_mv = snapshot.sum_mv + 8
snapshot.current_ma = -12345
snapshot.min_mv = 3700
snapshot.max_mv = 3700 + N_CELLS - 1
snapshot.max_cell = N_CELLS - 1
snapshot.switches = 3
snapshot.balancing = BLED
for sensor in range(4):
    snapshot.temp_dc[sensor] = -55 + 100 * sensor
parts = (snapshot, Protection(), Estimators(), Executive(), Afe())


def update(cycles):
    for _ in range(cycles):
        snapshot.seq += 1
        snapshot.uptime_s += 1
        # the memory figure differs between interpreters
        image.update(*parts)


def allocated():
    gc.collect()
    before = gc.mem_alloc()
    update(100)
    return gc.mem_alloc() - before


update(50)  # whatever is made once, is made now
if hasattr(gc, "mem_alloc"):
    used = allocated()
else:
    update(100)
image.recall(100)
image.map.block(64914).set("MemFree", None)
print(bytes(image.map.image).hex())
if hasattr(gc, "mem_alloc"):
    print("allocated", used)
