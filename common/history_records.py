r"""The records of a board's history: their canonical bytes, their chain, how they are stored.

A record is told apart by its number, which counts from 1 for the life of the board. Its
*canonical* bytes are absolute values in a fixed layout (docs/history.md); a chain runs over them,

    h(0) = SHA-256(serial number)       h(n) = SHA-256(h(n - 1) | canonical bytes of record n)

*Stored*, in flash and on the wire, a record is coded against the one before it by a ``Coder`` on
either side, which begins anew with every packet and every key batch: what does not change takes
nothing, a difference takes one byte up to 63. Numbers are not stored, they follow on each other.

    >>> coder = Coder(16)
    >>> size = coder.encode(record, buffer, 0)
    >>> Coder(16).decode(buffer, 0, size, Record(16))  # where the next record begins

What is not known is ``None``; in canonical bytes it is the sentinel that registers have.
"""

import hashlib
import struct

from common.mp import const

READING = const(1)
FAULT = const(2)
COMMAND = const(3)
EVIDENCE = const(4)
TEST = const(5)
RESTART = const(6)
TIME = const(7)
LOST = const(8)
SETTING = const(9)

# What follows the head of a record that is no reading, by its kind: see docs/history.md.
BODIES = ("", "", "BBHHlhhHl", "HB", "HHHBLLL", "BBBHHH", "BB16s", "LL", "L", "H")
SENTINELS = {"B": 0xFF, "H": 0xFFFF, "h": -0x8000, "L": 0xFFFFFFFF, "l": -0x80000000}

# Behind the cells of a reading.
SOC = const(0)
CHARGE = const(1)  # uAh since the reading before
CURRENT = const(2)
TEMPERATURES = const(3)  # the switches', the chip's own, four sensors of the cells
SOH = const(9)
SWITCHES = const(10)
FAULTS = const(11)
N_VALUES = const(12)

CHAIN_BYTES = const(32)
# An answer of function 20: version, SnCrc, number asked for, first number, records, 1: the chain
# value before the first one follows.
PACKET_HEAD = const("<BLLLBB")
PACKET_HEAD_BYTES = const(15)
PACKET_VERSION = const(1)

_HEAD = const("LBLLBL")
_VALUES = const("HllhhhhhhHBL")

_KIND = const(15)  # of a stored record's first byte; the others say what its head tells anew
_BOOT = const(16)
_CLOCK = const(32)
_UNMEASURED = const(64)


class HistoryError(ValueError):
    """Bytes that are no history."""


class Record:
    """One record, to be filled and used again; a reading has ``values``, the others ``body``."""

    def __init__(self, n_cells: int) -> None:
        self.number = 0
        self.kind = READING
        self.boot = 0
        self.run_s = 0
        self.quality = 0  # codes.TimeQuality
        self.utc_s: "int | None" = None
        # None: not known; the cells are all known or none is
        self.values: "list[int | None]" = [None] * (n_cells + N_VALUES)
        self.body = b""

    def canonical(self) -> bytes:
        """What the chain is computed over."""
        head = pack(_HEAD, self.number, self.kind, self.boot, self.run_s, self.quality, self.utc_s)
        if self.kind != READING:
            return head + self.body
        n = len(self.values) - N_VALUES
        return head + pack("B" + "H" * n + _VALUES, n, *self.values)


def stored_bytes(n_cells: int) -> int:
    """The most bytes that a stored record of such a pack has."""
    return 66 + 3 * n_cells


def pack(codes: str, *values: "int | bytes | None") -> bytes:
    """Values in their order, little-endian, each as its code says it; sentinels for ``None``."""
    known = [SENTINELS[codes[i]] if values[i] is None else values[i] for i in range(len(values))]
    return struct.pack("<" + codes, *known)


def first_chain(serial: bytes) -> bytes:
    """The chain's value before record 1."""
    digest: bytes = hashlib.sha256(serial).digest()
    return digest


def next_chain(chain: bytes, canonical: bytes) -> bytes:
    """The chain's value behind a record with these canonical bytes."""
    digest: bytes = hashlib.sha256(chain + canonical).digest()
    return digest


class Coder:
    """Codes records one after the other, or decodes them: one object does one of both."""

    def __init__(self, n_cells: int) -> None:
        self._n = n_cells
        self._last = [0] * (n_cells + N_VALUES)
        self._data: "bytes | bytearray | memoryview" = b""
        self._at = 0
        self._end = 0
        self.begin()

    def begin(self) -> None:
        """Code the next record as if nothing had been before it."""
        self._boot = self._run_s = self._quality = self._base_s = 0
        last = self._last
        for i in range(len(last)):
            last[i] = 0

    # --- coding ---------------------------------------------------------------------------

    def encode(self, r: Record, into: "bytearray | memoryview", at: int) -> int:
        """Write ``r`` to ``into[at:]``, which has room for ``stored_bytes``; where it ends."""
        base_s = self._base_s if r.utc_s is None else r.utc_s - r.run_s
        first = r.kind
        head = at
        at += 1
        if r.boot != self._boot:
            first |= _BOOT
            at = _put_signed(r.boot - self._boot, into, at)
            self._boot = r.boot
        if r.quality != self._quality or base_s != self._base_s:
            first |= _CLOCK
            into[at] = r.quality
            at = _put_signed(base_s - self._base_s, into, at + 1)
            self._quality = r.quality
            self._base_s = base_s
        at = _put_signed(r.run_s - self._run_s, into, at)
        self._run_s = r.run_s
        if r.kind != READING:
            body = r.body
            for i in range(len(body)):
                into[at + i] = body[i]
            at += len(body)
        else:
            if r.values[0] is None:
                first |= _UNMEASURED
            else:
                at = self._encode_cells(r.values, into, at)
            at = self._encode_values(r.values, into, at)
        into[head] = first
        return at

    def _encode_cells(
        self, values: "list[int | None]", into: "bytearray | memoryview", at: int
    ) -> int:
        # Of a reading in full: no cell is None, which types do not say.
        last = self._last
        n = self._n
        common = (sum(values[:n]) - sum(last[:n])) // n  # type: ignore[arg-type]
        at = _put_signed(common, into, at)
        for i in range(n):
            value: int = values[i]  # type: ignore[assignment]
            at = _put_signed(value - last[i] - common, into, at)
            last[i] = value
        return at

    def _encode_values(
        self, values: "list[int | None]", into: "bytearray | memoryview", at: int
    ) -> int:
        last = self._last
        n = self._n
        changed = 0
        for i in range(N_VALUES):
            if _shifted(values[n + i]) != last[n + i]:
                changed |= 1 << i
        at = _put(changed, into, at)
        for i in range(n, n + N_VALUES):
            value = _shifted(values[i])
            if value != last[i]:
                at = _put_signed(value - last[i], into, at)
                last[i] = value
        return at

    # --- decoding -------------------------------------------------------------------------

    def decode(self, data: "bytes | bytearray | memoryview", at: int, end: int, r: Record) -> int:
        """Read the record at ``data[at:end]`` into ``r``, all but its number; where it ends.

        ``HistoryError`` when that is none; what comes behind it is then lost as well. Whether
        values are such as can be is not looked at: ``canonical`` shows it.
        """
        self._data = data
        self._at = at
        self._end = end
        first = self._byte()
        kind = r.kind = first & _KIND
        if first > 127 or not 0 < kind <= SETTING:
            raise HistoryError("no kind of record: %d" % first)
        if first & _BOOT:
            self._boot += self._signed()
        if first & _CLOCK:
            self._quality = self._byte()
            self._base_s += self._signed()
        self._run_s += self._signed()
        r.boot = self._boot
        r.run_s = self._run_s
        r.quality = self._quality
        r.utc_s = self._base_s + r.run_s if r.quality else None
        if kind == READING:
            self._decode_reading(r.values, first & _UNMEASURED == 0)
        else:
            at = self._at
            self._at += struct.calcsize("<" + BODIES[kind])
            if self._at > end:
                raise HistoryError("cut off")
            r.body = bytes(data[at : self._at])
        return self._at

    def _decode_reading(self, values: "list[int | None]", measured: bool) -> None:
        last = self._last
        n = self._n
        if measured:
            self._decode_cells(values)
        else:
            for i in range(n):
                values[i] = None
        changed = self._unsigned()
        for i in range(n, n + N_VALUES):
            if changed & 1:
                last[i] += self._signed()
            changed >>= 1
            value = last[i]
            values[i] = None if not value else value - 1 if value > 0 else value

    def _decode_cells(self, values: "list[int | None]") -> None:
        last = self._last
        common = self._signed()
        data = self._data
        end = self._end
        at = self._at
        for i in range(self._n):
            if at >= end:
                raise HistoryError("cut off")
            rest = data[at]
            at += 1
            if rest > 127:  # seldom
                self._at = at - 1
                rest = self._unsigned()
                at = self._at
            values[i] = last[i] = last[i] + common + (-(rest >> 1) - 1 if rest & 1 else rest >> 1)
        self._at = at

    def _byte(self) -> int:
        at = self._at
        if at >= self._end:
            raise HistoryError("cut off")
        self._at = at + 1
        return self._data[at]

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 35:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise HistoryError("number too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return -(value >> 1) - 1 if value & 1 else value >> 1


def _put(value: int, into: "bytearray | memoryview", at: int) -> int:
    """Write an unsigned number, seven bits a byte from the lowest; where it ends."""
    while value > 127:
        into[at] = value & 127 | 128
        value >>= 7
        at += 1
    into[at] = value
    return at + 1


def _put_signed(value: int, into: "bytearray | memoryview", at: int) -> int:
    return _put(-(value << 1) - 1 if value < 0 else value << 1, into, at)


def _shifted(value: "int | None") -> int:
    """0 for what is not known: it stands for itself where nothing was before."""
    if value is None:
        return 0
    return value + 1 if value >= 0 else value
