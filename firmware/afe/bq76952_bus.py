"""Bytes on the I2C bus of a BQ76952: CRC, direct commands, subcommands, data memory.

The trap: a subcommand is only asked for by the write to 0x3E. While the chip is at it, 0x3E reads
0xFFFF, and the buffer at 0x40 still holds the answer to an earlier question. So 0x3E..0x61 is
read as one piece, and the answer counts only if it begins with the subcommand's own number and
its checksum is right. Reads of data memory always bring 32 bytes.

With CRC every data byte on the wire is followed by its CRC-8; the first one covers the address
and register bytes too. Every access is tried a few times, never for ever, then ``AfeError``.
Nothing here allocates once each length has been used.

    >>> bus.read(0x14, 2)  # direct command: bus.data[0:2]
    >>> bus.command(0x0076)  # ask ...
    >>> bus.collect(0x0076)  # ... and fetch: bus.data[2:], returns the length
    32

Source: TI SLUUBY2B chapter 3 and 13.1, SLUAA11B; TI support forum, threads 1328137 and 1527852
(words torn while they are read).
"""

from array import array

from common.crc import crc8_byte
from common.mp import const
from firmware.afe import AfeError
from firmware.afe.bq76952_registers import ADDRESS, CHECKSUM, INT_TEMPERATURE, SUBCOMMAND

_TRIES = const(3)
_SILENT_BEFORE_CLOCKS = const(2)  # tries; then nine clocks and a stop before the last one
_POLLS = const(20)  # of an answer; each read of 36 bytes takes some 1-2 ms at 400 kHz
_EAGER_POLLS = const(6)  # before sleeping between polls
_BUFFER_BYTES = const(36)  # subcommand, 32 data bytes, checksum, length
_MAX_BYTES = const(40)
_TORN = const(0x80)  # two readings of a word further apart: one of them may be torn
_HEAD = const(2)  # the subcommand, in front of the data


class Bq76952Bus:
    """The bus side of one chip. ``crc`` says how it is spoken to just now."""

    def __init__(self, board: "object", crc: bool = True) -> None:
        self._board = board
        self.crc = crc
        self.errors = 0
        self._busy = False  # a subcommand was given, and nobody has seen its end yet
        self.hung = False  # the chip answers, but not to subcommands
        self.data = bytearray(_MAX_BYTES)  # what the last read brought
        self._out = bytearray(_BUFFER_BYTES)
        self._wire = bytearray(2 * _MAX_BYTES)
        self._views: "dict[int, memoryview]" = {}
        self._first = array("H", bytes(_MAX_BYTES))
        self._second = array("H", bytes(_MAX_BYTES))
        self._write_seed = crc8_byte(0, ADDRESS << 1)

    # --- one access -----------------------------------------------------------------------

    def read(self, register: int, n: int) -> None:
        """Read ``n`` bytes from ``register`` on into ``data``."""
        view = self._view(2 * n if self.crc else n)
        silent = 0
        for _ in range(_TRIES):
            try:
                self._board.i2c.readfrom_mem_into(ADDRESS, register, view)  # type: ignore[attr-defined]
            except OSError:
                silent += 1
                self._failed(silent)
                continue
            if self._unpack(register, n):
                return
            self._failed()
        raise AfeError(
            "BQ76952: read of register 0x%02X: %s, %d times: check the I2C wiring and the chip's "
            "supply" % (register, "no answer" if silent else "bad CRC", _TRIES)
        )

    def read_words(self, register: int, n: int) -> None:
        """``read`` words that the chip may renew between their two bytes.

        It does not hold a word while it is read: 0x0D00 turning into 0x0CFF can be read as 0x0C00,
        a jump of 256 mV. So all are read twice, and where that disagrees, of a third time each
        word is the middle one of the three.
        """
        data = self.data
        first = self._first
        second = self._second
        self.read(register, n)
        self._note(first, n)
        self.read(register, n)
        self._note(second, n)
        torn = False
        for i in range(n // 2):
            if not -_TORN < first[i] - second[i] < _TORN:
                torn = True
        if not torn:
            return
        self.read(register, n)
        for i in range(n // 2):
            low = min(first[i], second[i])
            high = max(first[i], second[i])
            word = max(low, min(high, data[2 * i] | (data[2 * i + 1] ^ 0x80) << 8))
            data[2 * i] = word & 0xFF
            data[2 * i + 1] = word >> 8 ^ 0x80

    def _note(self, words: "array[int]", n: int) -> None:
        data = self.data
        for i in range(n // 2):  # the sign turned over: -1 and 0 are neighbours
            words[i] = data[2 * i] | (data[2 * i + 1] ^ 0x80) << 8

    def write(self, register: int, n: int, tries: int = _TRIES) -> None:
        """Write ``n`` bytes of the output buffer to ``register`` on."""
        view = self._pack(register, n)
        for attempt in range(tries):
            try:
                self._board.i2c.writeto_mem(ADDRESS, register, view)  # type: ignore[attr-defined]
            except OSError:
                self._failed(attempt + 1)
                continue
            return
        raise AfeError(
            "BQ76952: write to register 0x%02X: not acknowledged, %d times: check the I2C wiring "
            "and the chip's supply" % (register, tries)
        )

    def detect_crc(self) -> None:
        """Find out whether the chip speaks with CRC, by reading only, and do as it does."""
        self.crc = True
        view = self._view(4)
        silent = 0
        for _ in range(_TRIES):
            try:
                self._board.i2c.readfrom_mem_into(ADDRESS, INT_TEMPERATURE, view)  # type: ignore[attr-defined]
            except OSError:
                silent += 1
                self._failed(silent)
                continue
            if self._unpack(INT_TEMPERATURE, 2):
                return
        if silent == _TRIES:
            raise AfeError(
                "BQ76952: no answer at I2C address 0x%02X: check the wiring and the chip's supply"
                % ADDRESS
            )
        self.crc = False

    # --- subcommands ----------------------------------------------------------------------

    def command(self, code: int, tries: int = _TRIES) -> None:
        """Give a subcommand, or ask for its answer. Where it toggles, ``tries`` must be 1."""
        if self._busy:
            self.settle()
        self._give(code, tries)

    def command_at_once(self, code: int) -> None:
        """Give a subcommand without waiting for an earlier one, which must not hold it up."""
        busy = self._busy
        self._give(code, _TRIES)
        if busy:  # the chip may have been deaf: once more when it surely listens
            self.settle()
            self._give(code, _TRIES)

    def _give(self, code: int, tries: int) -> None:
        self._out[0] = code & 0xFF
        self._out[1] = code >> 8
        self.write(SUBCOMMAND, _HEAD, tries)
        self._busy = True

    def collect(self, code: int) -> int:
        """Fetch the answer to ``command(code)`` into ``data[2:]`` and return its length."""
        data = self.data
        for poll in range(_POLLS):
            self.read(SUBCOMMAND, _BUFFER_BYTES)
            if data[0] == code & 0xFF and data[1] == code >> 8:
                n = data[35] - 4
                if 0 <= n <= 32 and data[34] == self._checksum(data, _HEAD + n):
                    self._busy = self.hung = False
                    return n
                self.errors += 1
            if poll >= _EAGER_POLLS:
                self.sleep(1)
        self.hung = True
        raise AfeError("BQ76952: subcommand 0x%04X: no right answer in %d reads" % (code, _POLLS))

    def ask(self, code: int) -> int:
        """``command`` and ``collect``, once more when the chip seems to have missed it."""
        self.command(code)
        try:
            return self.collect(code)
        except AfeError:
            self.command(code)
            return self.collect(code)

    def send(self, code: int, payload: "bytes | bytearray", n: int) -> None:
        """Give a subcommand with ``n`` bytes of data, or write them to data memory at ``code``.

        The chip takes them when checksum and length arrive, in one write, and not before.
        """
        if self._busy:
            self.settle()
        out = self._out
        out[0] = code & 0xFF
        out[1] = code >> 8
        for i in range(n):
            out[_HEAD + i] = payload[i]
        self.write(SUBCOMMAND, _HEAD + n)
        out[0] = self._checksum(out, _HEAD + n)
        out[1] = n + 4
        self.write(CHECKSUM, 2)
        self._busy = True

    def settle(self) -> None:
        """Wait until the chip is done with what it was told."""
        for poll in range(_POLLS):
            self.read(SUBCOMMAND, 2)
            if self.data[0] & self.data[1] != 0xFF:
                self._busy = False
                return
            if poll >= _EAGER_POLLS:
                self.sleep(1)
        self.hung = True
        self._busy = False  # the next command is written over it: it may be what frees the chip
        raise AfeError("BQ76952: still busy after %d polls: reset the chip" % _POLLS)

    def sleep(self, ms: int) -> None:
        """Sleep about ``ms``; shorter when the UART wants attention."""
        board = self._board
        board.wait(board.ticks_add(board.ticks_ms(), ms))  # type: ignore[attr-defined]

    # --- helpers --------------------------------------------------------------------------

    def _failed(self, silent: int = 0) -> None:
        """Count a failed try; ``silent`` ones of this access did not even answer.

        After the second of those the board frees the bus, before the last try: a slave that was
        left in the middle of a read holds SDA down until it gets its clocks.
        """
        self.errors += 1
        if silent == _SILENT_BEFORE_CLOCKS:
            recover = getattr(self._board, "recover_i2c", None)
            if recover is not None:
                recover()

    def _view(self, n: int) -> "memoryview":
        view = self._views.get(n)
        if view is None:  # once per length: slicing allocates
            view = self._views[n] = memoryview(self._wire)[:n]
        return view

    def _pack(self, register: int, n: int) -> "memoryview":
        wire = self._wire
        out = self._out
        if not self.crc:
            for i in range(n):
                wire[i] = out[i]
            return self._view(n)
        crc = crc8_byte(self._write_seed, register)
        for i in range(n):
            byte = out[i]
            wire[2 * i] = byte
            wire[2 * i + 1] = crc8_byte(crc, byte)
            crc = 0
        return self._view(2 * n)

    def _unpack(self, register: int, n: int) -> bool:
        wire = self._wire
        data = self.data
        if not self.crc:
            for i in range(n):
                data[i] = wire[i]
            return True
        crc = crc8_byte(crc8_byte(self._write_seed, register), ADDRESS << 1 | 1)
        for i in range(n):
            byte = wire[2 * i]
            if crc8_byte(crc, byte) != wire[2 * i + 1]:
                return False
            data[i] = byte
            crc = 0
        return True

    @staticmethod
    def _checksum(data: "bytearray", n: int) -> int:
        total = 0
        for i in range(n):
            total += data[i]
        return ~total & 0xFF
