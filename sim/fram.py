r"""An I2C FRAM (Fujitsu/RAMXEED MB85RC256V) by the bytes on its bus; runs in MicroPython too.

A write is the device's address, two address bytes (the upper bit is ignored), then any number of
bytes, each in place when it is acknowledged; behind the last byte of the chip comes the first.
A read goes on from the address written last. There are no pages and there is no waiting.

``cut_at`` is the number of the written byte, from 0, in which the power fails: ``cut_bits`` are
the bits of it that had been written by then. From there on there is no answer.

    >>> chip = FramChip()
    >>> chip.i2c(0x50, bytes((0x12, 0x34, 7, 8)), 0)
    b''
    >>> chip.i2c(0x50, bytes((0x12, 0x35)), 1)
    b'\x08'
"""

import errno

N_BYTES = 32768
ADDRESS = 0x50


class PowerCut(BaseException):
    """The supply fails here."""


class FramChip:
    """The chip with the content ``image``; ``log`` takes (place, byte) of all that is written.

    ``stuck`` says of a place which bits in it are always 0. ``deaf`` transfers find nobody there.
    """

    def __init__(self, image: "bytearray | None" = None) -> None:
        self.image = image or bytearray(N_BYTES)
        self.log: "list[tuple[int, int]] | None" = None
        self.n_written = 0
        self.cut_at = -1
        self.cut_bits = 0
        self.dead = False
        self.deaf = 0
        self.stuck: "dict[int, int]" = {}
        self._at = 0

    def i2c(self, address: int, data: "bytes | bytearray", n_read: int) -> bytes:
        """One transfer: write ``data``, then read; ``OSError`` when nobody acknowledges."""
        if self.dead:
            raise PowerCut
        if self.deaf:
            self.deaf -= 1
            raise OSError(errno.ENODEV)
        if address != ADDRESS:
            raise OSError(errno.ENODEV)
        if len(data) >= 2:
            self._at = (data[0] << 8 | data[1]) % N_BYTES
        for byte in data[2:]:
            self._write(byte)
        read = bytearray(n_read)
        for i in range(n_read):
            read[i] = self.image[self._at]
            self._at = (self._at + 1) % N_BYTES
        return bytes(read)

    def _write(self, byte: int) -> None:
        at = self._at
        if self.n_written == self.cut_at:
            self.dead = True
            self.image[at] = self.image[at] & ~self.cut_bits | byte & self.cut_bits
            raise PowerCut
        self.n_written += 1
        if self.log is not None:
            self.log.append((at, byte))
        self.image[at] = byte & ~self.stuck.get(at, 0)
        self._at = (at + 1) % N_BYTES


class I2C:
    """A master as ``machine.I2C`` is one, with the chip on its bus."""

    def __init__(self, chip: FramChip) -> None:
        self.chip = chip

    def readfrom_mem_into(
        self, address: int, place: int, buffer: "bytearray | memoryview", *, addrsize: int = 8
    ) -> None:
        """Fill ``buffer`` from ``place`` on."""
        buffer[:] = self.chip.i2c(address, place.to_bytes(addrsize // 8, "big"), len(buffer))

    def writeto_mem(
        self, address: int, place: int, data: "bytes | memoryview", *, addrsize: int = 8
    ) -> None:
        """Write ``data`` from ``place`` on."""
        self.chip.i2c(address, place.to_bytes(addrsize // 8, "big") + bytes(data), 0)
