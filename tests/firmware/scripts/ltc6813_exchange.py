"""Runs on both interpreters: prints what the driver makes of a scripted chain of four chips.

Last line, on MicroPython only: how many bytes of the heap two hundred readings took.
"""

import gc

from scripted_ltc6813 import ScriptedChain

from firmware.afe.ltc6813 import Ltc6813
from firmware.settings import Settings
from firmware.snapshot import Snapshot

CELLS = (18, 18, 18, 18)

chain = ScriptedChain(4)
afe = Ltc6813(chain, CELLS)
settings = Settings("P1", 72, "nmc", 50000)
afe.configure(settings)
print(sorted(afe.applied.items()), afe.signature)
print(afe.errors, chain.rejected)

for number in range(4):
    chip = chain.chips[number]
    chip.cells = [35000 + 100 * number + 7 * i for i in range(18)]
    chip.sum = sum(chip.cells) // 30
    chip.gpio[0] = 12000 + 1000 * number
    chip.die = (30 + number + 276) * 76
chain.ina.current = -1600 * 12
snapshot = Snapshot(72)
for charge in (0, (1 << 40) - 144, (1 << 40) - 1000000, 5):
    chain.ina.charge = charge
    afe.read(snapshot)
    print(snapshot.delta_uah, snapshot.current_ma, snapshot.stack_mv, snapshot.switches)
print(list(snapshot.cell_mv), list(snapshot.temp_dc), snapshot.fet_dc, snapshot.afe_dc)
for _ in range(3):
    afe.read(snapshot)
print(snapshot.afe_dc, list(afe.turns.sensor_dc), list(afe.turns.wires.open))
afe.set_balancing(1 << 71 | 1 << 40 | 3)
afe.read(snapshot)
print(snapshot.balancing, [chip.bled() for chip in chain.chips])
afe.set_switches(3)
afe.read(snapshot)
print(snapshot.switches, snapshot.afe_safety, snapshot.afe_lost_settings, afe.errors)

if hasattr(gc, "mem_alloc"):
    # The script's own work allocates: let it give the answers to each command that it gave once.
    class Quiet:
        def __init__(self, chain):
            self.answers = [None] * 0x800
            self.chain = chain
            self.learning = True
            self.cleared = 0
            self.sleep_us = chain.sleep_us
            self.switch_feedback = chain.switch_feedback
            self.ticks_ms = chain.ticks_ms
            self.ticks_diff = chain.ticks_diff
            self.i2c = self
            self.words = [None] * 0x40

        def spi_transfer(self, out, into):
            if len(out) == 1:
                if self.learning:
                    self.chain.spi_transfer(out, into)
                return
            code = (out[0] << 8 | out[1]) & 0x7FF
            if len(out) == 4 and code == 0x711:
                self.cleared = 0x400  # where the answers of cleared cells are kept
            elif len(out) == 4:
                self.cleared = 0
            elif code == 4:
                code |= self.cleared
            if self.learning:
                self.chain.spi_transfer(out, into)
                if into:
                    self.answers[code] = bytes(into)
                return
            if into:
                answer = self.answers[code]
                for i in range(len(into)):
                    into[i] = answer[i]

        def readfrom_mem_into(self, address, register, buffer):
            if self.learning:
                self.chain.ina.readfrom_mem_into(address, register, buffer)
                self.words[register] = bytes(buffer)
            answer = self.words[register]
            for i in range(len(buffer)):
                buffer[i] = answer[i]

    quiet = Quiet(chain)
    afe._board = afe.bus._board = afe.ina._board = afe.turns._board = quiet
    for _ in range(12):
        afe.read(snapshot)
    quiet.learning = False
    afe.read(snapshot)

    def heap_of_readings():  # a function: new names in a module would make its table grow
        gc.collect()
        before = gc.mem_alloc()
        for _ in range(200):
            afe.read(snapshot)
        return gc.mem_alloc() - before

    print(heap_of_readings())
