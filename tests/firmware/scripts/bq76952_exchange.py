"""Runs on both interpreters: prints what the driver makes of a scripted chip.

Last line, on MicroPython only: how many bytes of the heap two hundred readings took.
"""

import gc
import struct
from binascii import hexlify

from scripted_bq76952 import ScriptedBoard, ScriptedBq76952

from firmware.afe.bq76952 import Bq76952
from firmware.settings import Settings
from firmware.snapshot import Snapshot

chip = ScriptedBq76952()
afe = Bq76952(ScriptedBoard(chip), 16)
settings = Settings("P1", 16, "nmc", 50000)
afe.configure(settings)
print(sorted(afe.applied.items()))
print(afe.errors, chip.rejected)
# Two gains are floats, of which the last of 24 bits may differ; the signature covers them.
gains = struct.unpack("<ff", bytes(chip.memory[0x91A8:0x91B0]))
print([f"{gain:.6g}" for gain in gains])
print(hexlify(bytes(chip.memory[0x91B0:0x9400])).decode())
print(len(chip.log), chip.log[-4:])

for cell in range(16):
    chip.set_word(0x14 + 2 * cell, 3600 + cell)
chip.set_word(0x34, 5772)
chip.set_word(0x3A, 0x10000 - 1234)
chip.set_word(0x70, 2981)
chip.set_word(0x72, 2631)
chip.direct[0x7F] = 0x05
snapshot = Snapshot(16)
for whole, fraction, seconds in ((0, 0x7FFFFFFF, 1), (-1, 0xD3C1C2E0, 2), (5, 1, 3)):
    chip.set_charge(whole, fraction, seconds)
    afe.read(snapshot)
    print(snapshot.delta_uah, snapshot.current_ma, snapshot.stack_mv)
print(list(snapshot.cell_mv), list(snapshot.temp_dc), snapshot.fet_dc, snapshot.afe_dc)
print(snapshot.switches, snapshot.balancing, snapshot.afe_safety, snapshot.afe_lost_settings)
afe.set_balancing(0x8005)
afe.read(snapshot)
print(snapshot.balancing)
afe.set_switches(3)
print(chip.log[-2:])

for code in (0x0005, 0x91A8, 0x0057):  # what is looked at now and then, each in its turn
    chip.answers[0x91A8] = bytes(chip.memory[0x91A8:0x91C8])
    whole = chip.answers[code]
    chip.answers[code] = bytes([whole[0] ^ 1]) + whole[1:]
    lost = 0
    for _ in range(9):
        afe.read(snapshot)
        lost += snapshot.afe_lost_settings
    chip.answers[code] = whole
    print(hex(code), lost)
afe.recover()
print(chip.log[-2:])

if hasattr(gc, "mem_alloc"):
    chip.logging = False
    afe.read(snapshot)

    # The script's own writes allocate: let it answer without looking at what is written.
    class Quiet:
        def __init__(self, chip):
            self.readfrom_mem_into = chip.readfrom_mem_into
            self.chip = chip

        def writeto_mem(self, address, register, buffer):
            self.chip.direct[0x3E] = buffer[0]
            self.chip.direct[0x3F] = buffer[2]
            self.chip.direct[0x60] = self.chip.direct[0x61] = 0
            code = buffer[0] | buffer[2] << 8
            self.chip._answer(code, self.chip.answers[code])

    afe.bus._board.i2c = Quiet(chip)
    afe.read(snapshot)

    def heap_of_readings():  # a function: new names in a module would make its table grow
        gc.collect()
        before = gc.mem_alloc()
        for _ in range(200):
            afe.read(snapshot)
        return gc.mem_alloc() - before

    print(heap_of_readings())
