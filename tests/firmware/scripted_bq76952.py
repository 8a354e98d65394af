"""A BQ76952 that answers by script, and a board around it; for both interpreters.

It knows registers, a transfer buffer and data memory, nothing of batteries. ``faults`` is a list
consumed by the accesses to come: ``"nack"``, ``"crc"`` (a bit flipped in what is read) or None.
``log`` holds what was written, as (register, data bytes without their CRC).
"""

import struct


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


class ScriptedBq76952:
    def __init__(self, crc=True, configured_crc=None):
        self.crc = crc
        self.direct = bytearray(256)
        self.answers = {0x0001: b"\x95\x76", 0x0057: b"\x40\x00", 0x0083: b"\x00\x00"}
        self.answers[0x0076] = bytes(32)
        self.answers[0x0005] = b"\x34\x92"
        self.memory = bytearray(0x10000)
        self.log = []
        self.logging = True
        self.faults = []
        self.busy_reads = 0  # of 0x3E that answer 0xFFFF after each subcommand
        self.busy = 0
        self.deaf = False
        self.forgets = ()  # addresses of data memory that do not keep what is written
        self.rejected = 0
        self.transactions = 0
        self.set_word(0x12, 0x0108)  # full access, POR
        self.set_word(0x68, 2981)

    def set_word(self, register, value):
        self.direct[register] = value & 0xFF
        self.direct[register + 1] = value >> 8 & 0xFF

    def word(self, register):
        return self.direct[register] | self.direct[register + 1] << 8

    def set_charge(self, whole, fraction, seconds):
        self.answers[0x0076] = struct.pack("<iII", whole, fraction, seconds) + bytes(20)

    # --- the two functions of machine.I2C that the driver uses ------------------------------

    def readfrom_mem_into(self, address, register, buffer):
        fault = self._begin(address)
        if register == 0x3E and self.busy:
            self.busy -= 1
            low = high = 0xFF
        else:
            low, high = self.direct[0x3E], self.direct[0x3F]
        direct = self.direct
        if not self.crc:
            for i in range(len(buffer)):
                buffer[i] = direct[register + i]
            if register == 0x3E:
                buffer[0], buffer[1] = low, high
            return
        for i in range(len(buffer) // 2):
            byte = direct[register + i]
            if register == 0x3E and i < 2:
                byte = high if i else low
            buffer[2 * i] = byte
            buffer[2 * i + 1] = self._crc_of(address, register, byte) if i == 0 else _CRC[byte]
        if fault == "crc":
            buffer[0] ^= 0x10

    def writeto_mem(self, address, register, buffer):
        self._begin(address)
        wire = bytes(buffer)
        data = wire
        if self.crc:
            data = bytes([wire[i] for i in range(0, len(wire), 2)])
            head = bytes([address << 1, register])
            for i in range(len(data)):
                expected = crc8((head if i == 0 else b"") + data[i : i + 1])
                if wire[2 * i + 1] != expected:
                    self.rejected += 1
                    raise OSError(5)
        if self.logging:
            self.log.append((register, data))
        for i in range(len(data)):
            self.direct[register + i] = data[i]
        if register == 0x3E and len(data) == 2:
            self._subcommand(data[0] | data[1] << 8)
        if register == 0x60:
            self._commit(data[0], data[1])

    # ----------------------------------------------------------------------------------------

    def _begin(self, address):
        self.transactions += 1
        fault = self.faults.pop(0) if self.faults else None
        if self.deaf or fault == "nack" or address != 0x08:
            raise OSError(5)
        return fault

    def _crc_of(self, address, register, byte):
        crc = _CRC[_CRC[address << 1] ^ register]  # no tuple to loop over: it would allocate
        return _CRC[_CRC[crc ^ (address << 1 | 1)] ^ byte]

    def _answer(self, code, data):
        self.busy = self.busy_reads
        direct = self.direct
        total = (code & 0xFF) + (code >> 8)
        for i in range(len(data)):
            direct[0x40 + i] = data[i]
            total += data[i]
        direct[0x60] = ~total & 0xFF
        direct[0x61] = len(data) + 4

    def _subcommand(self, code):
        self.busy = self.busy_reads
        if code in self.answers:
            self._answer(code, self.answers[code])
        elif code >= 0x9180:
            self._answer(code, self.memory[code : code + 32])
        elif code == 0x0090:
            self.direct[0x12] |= 0x01
        elif code == 0x0092:
            self.direct[0x12] &= ~0x19
        elif code == 0x0022:
            status = self.answers[0x0057]
            self.answers[0x0057] = bytes([status[0] ^ 0x10, status[1]])
        elif code == 0x29BC:
            self.crc = self.memory[0x9239] == 0x12

    def _commit(self, checksum, length):
        n = length - 4
        if checksum != ~sum(self.direct[0x3E : 0x40 + n]) & 0xFF:
            self.rejected += 1
            return
        self.busy = self.busy_reads
        code = self.direct[0x3E] | self.direct[0x3F] << 8
        data = bytes(self.direct[0x40 : 0x40 + n])
        if code >= 0x9180:
            if not self.direct[0x12] & 0x01:
                self.rejected += 1
                return
            for i in range(n):
                if code + i not in self.forgets:
                    self.memory[code + i] = data[i]
        elif code == 0x0083:
            self.answers[code] = data


_CRC = bytes([crc8(bytes([i])) for i in range(256)])


class ScriptedBoard:
    """Time passes only when somebody waits; its ticks wrap at 2**30, ``now_ms`` does not."""

    def __init__(self, i2c):
        self.i2c = i2c
        self.now_ms = 0
        self.recoveries = 0

    def ticks_ms(self):
        return self.now_ms & 0x3FFFFFFF

    def ticks_add(self, ticks, delta):
        return (ticks + delta) & 0x3FFFFFFF

    def ticks_diff(self, later, earlier):
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    def wait(self, until_ms):
        self.now_ms += self.ticks_diff(until_ms, self.ticks_ms())

    def recover_i2c(self):
        self.recoveries += 1
