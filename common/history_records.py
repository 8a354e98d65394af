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

# What follows the head of a record that is no reading: see docs/history.md.
BODIES = {
    FAULT: "<BBHHlhhHl",
    COMMAND: "<HB",
    EVIDENCE: "<HHHBLLL",
    TEST: "<BBBHHH",
    RESTART: "<BB16s",
    TIME: "<LL",
    LOST: "<L",
}
SENTINELS = {"B": 0xFF, "H": 0xFFFF, "h": -0x8000, "L": 0xFFFFFFFF, "l": -0x80000000}

# Behind the cells of a reading.
CURRENT = const(0)
TEMPERATURES = const(1)  # four sensors of the cells, the switches', the chip's own
SOC = const(7)
SOH = const(8)
SWITCHES = const(9)
FAULTS = const(10)
CHARGE = const(11)  # uAh since the reading before
N_VALUES = const(12)

CHAIN_BYTES = const(32)
# An answer of function 20: version, SnCrc, number asked for, first number, records, 1: the chain
# value before the first one follows.
PACKET_HEAD = const("<BLLLBB")
PACKET_HEAD_BYTES = const(15)
PACKET_VERSION = const(1)

_HEAD = const("<LBLLBL")
_HEAD_BYTES = const(18)
_VALUES = const("<l6hHHBLl")

_KIND = const(15)  # of a stored record's first byte; the others say what its head tells anew
_BOOT = const(16)
_CLOCK = const(32)
_UNMEASURED = const(64)

_MOST_U32 = const(0xFFFFFFFE)
_MOST_I32 = const(0x7FFFFFFF)
_N_SLOW = const(8)  # temperatures, SOH, switches with faults


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
        self.measured = False  # in full: else cells, current, temperatures, switches are unknown
        self.values: "list[int | None]" = [None] * (n_cells + N_VALUES)
        self.body = b""

    def canonical(self, into: bytearray) -> int:
        """Write the canonical bytes; how many (``canonical_bytes`` at most)."""
        utc_s = self.utc_s
        struct.pack_into(
            _HEAD, into, 0, self.number, self.kind, self.boot, self.run_s, self.quality,
            0xFFFFFFFF if utc_s is None else utc_s,
        )  # fmt: skip
        at: int = _HEAD_BYTES
        if self.kind != READING:
            into[at : at + len(self.body)] = self.body
            return at + len(self.body)
        values = self.values
        n = len(values) - N_VALUES
        into[at] = n
        at += 1
        for i in range(n):
            cell_mv = values[i]
            cell_mv = 0xFFFF if cell_mv is None else cell_mv
            into[at] = cell_mv & 0xFF
            into[at + 1] = cell_mv >> 8
            at += 2
        tail = [
            SENTINELS[code] if value is None else value
            for code, value in zip("lhhhhhhHHBLl", values[n:])  # noqa: B905  not on boards
        ]
        struct.pack_into(_VALUES, into, at, *tail)
        return at + struct.calcsize(_VALUES)


def canonical_bytes(n_cells: int) -> int:
    """The most canonical bytes that a record of such a pack has."""
    return 56 + 2 * n_cells


def stored_bytes(n_cells: int) -> int:
    """The most bytes that a stored record of such a pack has."""
    return 76 + 3 * n_cells


def pack_body(kind: int, *values: "int | bytes | None") -> bytes:
    """The body of a record that is no reading, from its values in their order."""
    codes = BODIES[kind]
    known = [
        SENTINELS[codes[i + 1]] if values[i] is None else values[i] for i in range(len(values))
    ]
    return struct.pack(codes, *known)


def first_chain(serial: bytes) -> bytes:
    """The chain's value before record 1."""
    digest: bytes = hashlib.sha256(serial).digest()
    return digest


def next_chain(chain: bytes, canonical: "bytes | bytearray | memoryview") -> bytes:
    """The chain's value behind a record with these canonical bytes."""
    digest = hashlib.sha256(chain)
    digest.update(canonical)
    value: bytes = digest.digest()
    return value


class Coder:
    """Codes records one after the other, or decodes them: one object does one of both."""

    def __init__(self, n_cells: int) -> None:
        self._n = n_cells
        self._last = [0] * (n_cells + N_VALUES)
        self._slow = tuple(range(n_cells + TEMPERATURES, n_cells + SOC)) + (  # noqa: RUF005
            n_cells + SOH,
        )
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
        elif r.measured:
            at = self._encode_values(r.values, into, self._encode_cells(r.values, into, at))
        else:
            first |= _UNMEASURED
            at = self._encode_values(r.values, into, at)
        into[head] = first
        return at

    def _encode_cells(
        self, values: "list[int | None]", into: "bytearray | memoryview", at: int
    ) -> int:
        last = self._last
        n = self._n
        total = 0
        for i in range(n):
            total += values[i] - last[i]  # type: ignore[operator]
        common = total // n
        at = _put_signed(common, into, at)
        for i in range(n):
            value: int = values[i]  # type: ignore[assignment]
            rest = value - last[i] - common
            last[i] = value
            if -64 <= rest < 64:  # at once what ``_put_signed`` would: this is most of the work
                into[at] = -(rest << 1) - 1 if rest < 0 else rest << 1
                at += 1
            else:
                at = _put_signed(rest, into, at)
        current = values[n]
        at = _put_signed(current - last[n], into, at)  # type: ignore[operator]
        last[n] = current  # type: ignore[assignment]
        return at

    def _encode_values(
        self, values: "list[int | None]", into: "bytearray | memoryview", at: int
    ) -> int:
        last = self._last
        n = self._n
        soc = _known(values[n + SOC])
        at = _put_signed(soc - last[n + SOC], into, at)
        last[n + SOC] = soc
        mask_at = at
        mask = 0
        at += 1
        bit = 1
        for i in self._slow:
            value = _known(values[i])
            if value != last[i]:
                mask |= bit
                at = _put_signed(value - last[i], into, at)
                last[i] = value
            bit <<= 1
        switches = _known(values[n + SWITCHES])
        faults: int = values[n + FAULTS] or 0
        if switches != last[n + SWITCHES] or faults != last[n + FAULTS]:
            mask |= bit
            at = _put(switches, into, at)
            at = _put(faults, into, at)
            last[n + SWITCHES] = switches
            last[n + FAULTS] = faults
        into[mask_at] = mask
        return _put_signed(values[n + CHARGE], into, at)  # type: ignore[arg-type]

    # --- decoding -------------------------------------------------------------------------

    def decode(self, data: "bytes | bytearray | memoryview", at: int, end: int, r: Record) -> int:
        """Read the record at ``data[at:end]`` into ``r``, all but its number; where it ends.

        ``HistoryError`` when that is none; what comes behind it is then lost as well.
        """
        self._data = data
        self._at = at
        self._end = end
        first = self._byte()
        r.kind = first & _KIND
        if first > 127 or (r.kind != READING and r.kind not in BODIES):
            raise HistoryError("no kind of record: %d" % first)
        if first & _BOOT:
            self._boot = self._moved(self._boot, 0, _MOST_U32)
        if first & _CLOCK:
            self._quality = self._byte()
            self._base_s = self._moved(self._base_s, -_MOST_U32, _MOST_U32)
        r.boot = self._boot
        r.run_s = self._run_s = self._moved(self._run_s, 0, _MOST_U32)
        r.quality = self._quality
        r.utc_s = None
        if r.quality:
            utc_s = self._base_s + r.run_s
            if not 0 <= utc_s <= _MOST_U32:
                raise HistoryError("time out of range")
            r.utc_s = utc_s
        if r.kind == READING:
            r.measured = not first & _UNMEASURED
            self._decode_reading(r)
        else:
            size = struct.calcsize(BODIES[r.kind])
            at = self._at
            if first & _UNMEASURED or at + size > end:
                raise HistoryError("cut off, or of no kind")
            r.body = bytes(data[at : at + size])
            self._at = at + size
        return self._at

    def _decode_reading(self, r: Record) -> None:
        last = self._last
        values = r.values
        n = self._n
        if r.measured:
            self._decode_cells(values)
            values[n] = last[n] = self._moved(last[n], -_MOST_I32, _MOST_I32)
        else:
            for i in range(n + 1):
                values[i] = None
        last[n + SOC] = self._moved(last[n + SOC], 0, 0xFFFF)
        values[n + SOC] = _unknown(last[n + SOC])
        mask = self._byte()
        bit = 1
        for i in self._slow:
            if mask & bit:
                lowest = 0 if bit == 1 << _N_SLOW - 2 else -0x7FFF
                last[i] = self._moved(last[i], lowest, 0xFFFF + (lowest or 0))
            values[i] = _unknown(last[i])
            bit <<= 1
        if mask & bit:
            switches = self._unsigned()
            faults = self._unsigned()
            if switches > 0xFF or faults > _MOST_U32:
                raise HistoryError("switches out of range")
            last[n + SWITCHES] = switches
            last[n + FAULTS] = faults
        values[n + SWITCHES] = _unknown(last[n + SWITCHES])
        values[n + FAULTS] = last[n + FAULTS]
        values[n + CHARGE] = self._moved(0, -_MOST_I32, _MOST_I32)

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
            cell_mv = last[i] + common + (-(rest >> 1) - 1 if rest & 1 else rest >> 1)
            if cell_mv < 0 or cell_mv > 0xFFFE:
                raise HistoryError("cell out of range")
            values[i] = last[i] = cell_mv
        self._at = at

    def _byte(self) -> int:
        at = self._at
        if at >= self._end:
            raise HistoryError("cut off")
        self._at = at + 1
        return self._data[at]

    def _unsigned(self) -> int:
        data = self._data
        at = self._at
        end = self._end
        value = 0
        shift = 0
        while shift < 35:
            if at >= end:
                raise HistoryError("cut off")
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                self._at = at
                return value
            shift += 7
        raise HistoryError("number too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def _moved(self, last: int, lowest: int, highest: int) -> int:
        value = last + self._signed()
        if not lowest <= value <= highest:
            raise HistoryError("value out of range")
        return value


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


def _known(value: "int | None") -> int:
    """0 for what is not known: it stands for itself where nothing was before."""
    if value is None:
        return 0
    return value + 1 if value >= 0 else value


def _unknown(value: int) -> "int | None":
    if value == 0:
        return None
    return value - 1 if value > 0 else value
