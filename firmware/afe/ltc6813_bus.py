"""Bytes on the isoSPI chain of LTC6813-1: wake-up, PEC15, commands, register groups.

A frame is the command (two bytes, high first) and its PEC, then for each chip six bytes and their
PEC. When reading, the chip next to the host answers first; when writing, its bytes go last.

The trap: nothing is acknowledged. A chip that missed a command stays silent about it, and a chip
whose port has gone idle (after some 4 ms) misses everything. What was written has to be read back,
and results cleared before the next conversion is started. Reads are checked by PEC and repeated
once, after a wake-up that reaches even chips that sleep; then ``AfeError``. Nothing here allocates
but errors.

    >>> bus = Ltc6813Bus(board, 2)
    >>> bus.wake(READY_US)
    >>> bus.read(RDCV[0])
    >>> bus.word(1, 0)  # cell 1 of the second chip
    37000

Source: LTC6813-1 data sheet, serial interface; LTC6804 data sheet, table of PEC15 steps.
"""

from array import array

from common.mp import const
from firmware.afe import AfeError
from firmware.afe.ltc6813_registers import CLEARED, GROUP_BYTES, RDCFGA, RDCV, WAKE_US

_HEAD = const(4)  # command and PEC
_FRAME = const(8)  # six bytes and PEC
_SEED = const(0x20)  # 16, shifted as on the wire
_POLYNOMIAL = const(0x4599)  # x^15 + x^14 + x^10 + x^8 + x^7 + x^4 + x^3 + 1


def _step(byte: int) -> int:
    remainder = byte << 8  # 15 bits and a 0, as on the wire
    for _ in range(8):
        remainder <<= 1
        if remainder & 0x10000:
            remainder ^= _POLYNOMIAL << 1
        remainder &= 0xFFFF
    return remainder


_TABLE = array("H", [_step(byte) for byte in range(256)])


def pec15(data: "bytes | bytearray", start: int, n: int) -> int:
    """The PEC of ``n`` bytes of ``data`` from ``start`` on, as it goes onto the wire."""
    table = _TABLE
    remainder = _SEED
    for i in range(start, start + n):
        remainder = (remainder & 0xFF) << 8 ^ table[remainder >> 8 ^ data[i]]
    return remainder


class Ltc6813Bus:
    """The bus side of ``n_chips`` chips in a chain."""

    def __init__(self, board: "object", n_chips: int) -> None:
        self._board = board
        self.n_chips = n_chips
        self.errors = 0
        self.data = bytearray(_HEAD + _FRAME * n_chips)  # what the last read brought
        self._out = bytearray(b"\xff" * len(self.data))
        self._command = bytearray(_HEAD)
        self._dummy = bytearray(b"\xff")

    def wake(self, us: int) -> None:
        """Wake all chips, whatever state each is in: one pulse a chip, ``us`` apart."""
        board = self._board
        for _ in range(self.n_chips):
            try:
                board.spi_transfer(self._dummy, None)  # type: ignore[attr-defined]
            except OSError:
                self.errors += 1  # what comes next will fail by itself
            board.sleep_us(us)  # type: ignore[attr-defined]

    def command(self, code: int) -> None:
        """Send a command that has no answer. Whether it arrived only its effect can tell."""
        self._address(self._command, code)
        self._send(code, self._command, None)

    def read(self, code: int) -> None:
        """Read a register group of all chips into ``data``."""
        self._address(self._out, code)
        if self._exchange() < 0:
            return
        self.errors += 1
        self.wake(WAKE_US)
        silent = self._exchange()
        if silent < 0:
            return
        self.errors += 1
        raise AfeError(
            "LTC6813: command 0x%04X: %s, twice: check the isoSPI wiring and the chips' supply"
            % (
                code,
                "bad PEC from chip %d of %d" % (silent + 1, self.n_chips)
                if silent < self.n_chips
                else "the SPI fails",
            )
        )

    def at(self, chip: int) -> int:
        """Where the six bytes of ``chip`` (0 is next to the host) begin in ``data``."""
        return _HEAD + _FRAME * chip

    def word(self, chip: int, i: int) -> int:
        """Word ``i`` (0 to 2) of the group of ``chip`` that was read last."""
        at = _HEAD + _FRAME * chip + 2 * i
        return self.data[at] | self.data[at + 1] << 8

    def write(self, code: int, groups: "bytes | bytearray") -> None:
        """Write six bytes to each chip; those of the chip next to the host stand first."""
        out = self._out
        self._address(out, code)
        for chip in range(self.n_chips):
            at = _HEAD + _FRAME * (self.n_chips - 1 - chip)
            for i in range(GROUP_BYTES):
                out[at + i] = groups[GROUP_BYTES * chip + i]
            self._seal(out, at, GROUP_BYTES)
        self._send(code, out, None)
        for i in range(_HEAD, len(out)):
            out[i] = 0xFF

    def read_cells(self, cells: "tuple[int, ...]", codes: "array[int]") -> int:
        """Codes of all cells, ``cells`` of each chip, chip by chip.

        The first chip that has not converted one; -1: all have.
        """
        data = self.data
        missed = -1
        for group in range((max(cells) + 2) // 3):
            self.read(RDCV[group])
            at = _HEAD
            first = 0
            for chip in range(self.n_chips):
                n = cells[chip]
                for i in range(min(n - 3 * group, 3)):
                    code = data[at + 2 * i] | data[at + 2 * i + 1] << 8
                    codes[first + 3 * group + i] = code
                    if code == CLEARED and missed < 0:
                        missed = chip
                at += _FRAME
                first += n
        return missed

    def goes_on(self) -> bool:
        """Whether yet another chip answers behind the last one. Allocates."""
        out = bytearray(b"\xff" * (len(self._out) + _FRAME))
        into = bytearray(len(out))
        self._address(out, RDCFGA)
        self._send(RDCFGA, out, into)
        return self._sealed(into, len(self._out))

    # --- helpers --------------------------------------------------------------------------

    def _address(self, out: "bytearray", code: int) -> None:
        out[0] = code >> 8
        out[1] = code & 0xFF
        self._seal(out, 0, 2)

    @staticmethod
    def _seal(out: "bytearray", at: int, n: int) -> None:
        pec = pec15(out, at, n)
        out[at + n] = pec >> 8
        out[at + n + 1] = pec & 0xFF

    @staticmethod
    def _sealed(data: "bytearray", at: int) -> bool:
        pec = pec15(data, at, GROUP_BYTES)
        return data[at + GROUP_BYTES] << 8 | data[at + GROUP_BYTES + 1] == pec

    def _exchange(self) -> int:
        """The first chip whose answer is wrong, -1 when all are right, ``n_chips``: no bus."""
        try:
            self._board.spi_transfer(self._out, self.data)  # type: ignore[attr-defined]
        except OSError:
            return self.n_chips
        for chip in range(self.n_chips):
            if not self._sealed(self.data, _HEAD + _FRAME * chip):
                return chip
        return -1

    def _send(self, code: int, out: "bytearray", into: "bytearray | None") -> None:
        for _ in range(2):
            try:
                self._board.spi_transfer(out, into)  # type: ignore[attr-defined]
            except OSError:
                self.errors += 1
                continue
            return
        raise AfeError("LTC6813: command 0x%04X: the SPI fails, twice: check its wiring" % code)
