"""A chain of LTC6813 and an INA228 that answer by script, and a board around them.

For both interpreters. It knows frames, register groups and registers, nothing of batteries: codes
stand in ``Chip`` and are shown once a conversion was started after they were cleared. ``faults``
is a list consumed by the SPI transfers to come (wake-ups aside): ``"nack"`` (the bus fails), an
``int`` (a bit flipped in what that chip answers), ``"deaf"`` (all chips miss it) or None.
``ina.faults`` is consumed by I2C accesses: ``"nack"`` or None. ``log`` holds the commands.
"""

from firmware.board import Board

CLEARED = 0xFFFF


def pec(data):
    """Bit by bit, as the data sheet's flow chart has it."""
    remainder = 0x10
    for byte in data:
        for bit in range(7, -1, -1):
            top = remainder >> 14 & 1
            remainder = remainder << 1 & 0x7FFF
            if top ^ (byte >> bit & 1):
                remainder ^= 0x4599
    return remainder << 1


class Chip:
    def __init__(self):
        self.cells = [37000] * 18  # what ADCVSC will find
        self.up = None  # what ADOW will, where it differs
        self.down = None
        self.gpio = [15000] * 9
        self.reference = 30000
        self.sum = 37000 * 18 // 30
        self.die = (25 + 276) * 76
        self.dten = True
        self.deaf = False  # misses conversions and clears
        self.forgets = False  # does not keep what is written
        self.groups = {}
        self.reset()

    def reset(self):
        self.groups[0x0002] = bytearray(6)
        self.groups[0x0026] = bytearray(6)
        self.clear("cells")
        self.clear("aux")
        self.clear("stat")

    def put(self, code, words):
        group = bytearray(6)
        for i in range(3):
            group[2 * i] = words[i] & 0xFF
            group[2 * i + 1] = words[i] >> 8
        self.groups[code] = group

    def clear(self, what):
        nothing = [CLEARED] * 3
        if what == "cells":
            self.put_cells([CLEARED] * 18)
        elif what == "aux":
            self.put(0x000C, nothing)
            self.put(0x000E, nothing)
        else:
            self.put(0x0010, nothing)

    def put_cells(self, codes):
        for i, code in enumerate((0x0004, 0x0006, 0x0008, 0x000A, 0x0009, 0x000B)):
            self.put(code, codes[3 * i : 3 * i + 3])

    def convert(self, code):
        if code == 0x0567:
            self.put_cells(self.cells)
            group = self.groups[0x0010]
            group[0] = self.sum & 0xFF
            group[1] = self.sum >> 8
        elif code == 0x0368:
            self.put_cells(self.up or self.cells)
        elif code == 0x0328:
            self.put_cells(self.down or self.cells)
        elif code == 0x0560:
            self.put(0x000C, self.gpio[0:3])
            self.put(0x000E, [self.gpio[3], self.gpio[4], self.reference])
        elif code == 0x0568:
            self.put(0x0010, [self.sum, self.die, 50000])
        elif code == 0x0711:
            self.clear("cells")
        elif code == 0x0712:
            self.clear("aux")
        elif code == 0x0713:
            self.clear("stat")

    def group(self, code):
        """A copy, as it reads: DTEN is the pin's level."""
        group = self.groups[code]
        if code == 0x0002:
            if self.dten:
                group[0] |= 0x02
            else:
                group[0] &= ~0x02
        return group

    def bled(self):
        a, b = self.groups[0x0002], self.groups[0x0026]
        return a[4] | (a[5] & 0x0F) << 8 | (b[0] & 0xF0) << 8 | (b[1] & 3) << 16


class ScriptedIna228:
    def __init__(self):
        self.registers = {}
        self.log = []
        self.faults = []
        self.reset()
        self.converting = True
        self.current = 0  # raw, signed
        self.charge = 0  # raw, 40 bits
        self.noise = []  # added to the charge of the reads to come

    def reset(self):
        self.registers = {0x00: 0, 0x01: 0xFB68, 0x02: 0x1000, 0x0B: 0x0001, 0x0C: 0x7FFF}
        self.registers[0x0D] = 0x8000
        self.registers[0x3E] = 0x5449
        self.registers[0x3F] = 0x2281
        self.charge = 0

    def readfrom_mem_into(self, address, register, buffer):
        self._begin(address)
        if register == 0x07:
            value = (self.current & 0xFFFFF) << 4
        elif register == 0x0A:
            value = self.charge + (self.noise.pop(0) if self.noise else 0)
        else:
            value = self.registers[register]
            if register == 0x0B:
                if self.converting:
                    value |= 0x02
                self.registers[0x0B] &= ~0x60  # the latch: gone by being read
        n = len(buffer)
        for i in range(n):
            buffer[i] = value >> 8 * (n - 1 - i) & 0xFF

    def writeto_mem(self, address, register, buffer):
        self._begin(address)
        value = buffer[0] << 8 | buffer[1]
        self.log.append((register, value))
        self.registers[register] = value | 1 if register == 0x0B else value

    def _begin(self, address):
        if address != 0x40 or (self.faults and self.faults.pop(0) == "nack"):
            raise OSError(5)


class ScriptedChain(Board):
    """Board, chain and switches. Time passes only when somebody waits."""

    def __init__(self, n_chips=1):
        self.chips = [Chip() for _ in range(n_chips)]
        self.present = n_chips  # chips that answer, from the host's side on
        self.i2c = self.ina = ScriptedIna228()
        self.faults = []
        self.log = []
        self.logging = True
        self.now_us = 0
        self.idle_us = 0  # since the last transfer: all ports go idle ...
        self.idle_ports = 0  # ... and each needs a transfer of its own to wake up
        self.slow_us = 0  # that the board takes for each look at its switches
        self.wakes = 0
        self.transfers = 0
        self.rejected = 0
        self.driven = 0
        self.stuck = None  # what the feedback says instead; -1: nothing
        self.drive_log = []
        self.drive_fails = False

    # --- what the driver uses of a board ------------------------------------------------------

    def spi_transfer(self, out, into):
        if self.idle_us > 4300:
            self.idle_ports = len(self.chips)
        self.idle_us = 0
        idle = self.idle_ports > 0
        if idle:
            self.idle_ports -= 1
        if len(out) == 1:
            self.wakes += 1
            return
        self.transfers += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault == "nack":
            raise OSError(5)
        for i in range(len(into or ())):
            into[i] = 0xFF
        if fault == "deaf" or idle:
            return
        code = out[0] << 8 | out[1]
        if pec(out[0:2]) != out[2] << 8 | out[3]:
            self.rejected += 1
            return
        if self.logging:
            self.log.append(code)
        if code in (0x0001, 0x0024):
            self._take(code, out)
        elif into and len(out) > 4:
            self._answer(code, into)
            if isinstance(fault, int):
                into[4 + 8 * fault] ^= 0x04
        else:
            for chip in self.chips:
                if not chip.deaf:
                    chip.convert(code)

    def sleep_us(self, us):
        self.now_us += us
        self.idle_us += us

    def drive_switches(self, bits):
        self.drive_log.append(bits)
        if self.drive_fails:
            raise OSError(5)
        self.driven = bits

    def switch_feedback(self):
        self.sleep_us(self.slow_us)
        return self.driven if self.stuck is None else self.stuck

    def ticks_ms(self):
        return self.now_us // 1000

    def ticks_diff(self, later, earlier):
        return later - earlier

    # ----------------------------------------------------------------------------------------

    def _take(self, code, out):
        n = (len(out) - 4) // 8
        for i in range(n):
            frame = out[4 + 8 * i : 12 + 8 * i]
            if pec(frame[0:6]) != frame[6] << 8 | frame[7]:
                self.rejected += 1
                continue
            chip = self.chips[n - 1 - i]  # the first bytes travel farthest
            if not chip.forgets:
                chip.groups[code << 1 if code == 1 else 0x0026] = bytearray(frame[0:6])

    def _answer(self, code, into):
        for i in range(min(self.present, (len(into) - 4) // 8)):
            at = 4 + 8 * i
            group = self.chips[i].group(code)
            for k in range(6):
                into[at + k] = group[k]
            check = pec(group)
            into[at + 6] = check >> 8
            into[at + 7] = check & 0xFF
