"""Run by test_common_registers.py on MicroPython: writing and reading points must not allocate."""

import sys

import micropython

sys.path.insert(0, ".")  # the project's folder

from common import models
from common.registers import RegisterMap

pack = RegisterMap(16)
snapshot = pack.block(models.SNAPSHOT)
health = pack.block(models.HEALTH)


def write_everything():
    for name in ("Seq", "A", "V", "Soc", "St", "Flt", "Tmp1"):
        snapshot.set(name, 1234)
        snapshot.set(name, -1234)
        snapshot.set(name, None)
        snapshot.get(name)
    for cell in range(16):
        snapshot.set_cell("V", cell, 3650)
        health.set_cell("Soh", cell, 9000)
        health.get_cell("Soh", cell)
    return 0


caught = False  # a new global would itself allocate
write_everything()
micropython.heap_lock()
try:
    write_everything()
finally:
    micropython.heap_unlock()
micropython.heap_lock()
try:
    bytes(64)
except MemoryError:
    caught = True
finally:
    micropython.heap_unlock()
print("no allocation" if caught else "the lock does not work")
