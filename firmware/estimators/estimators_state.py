"""What of the estimators survives power-off: two records, little-endian, each with its version.

``lifetime`` are the counters: what a later firmware counts is appended, so that a shorter record
is taken up as far as it goes; version 1 counted time in minutes, where there are seconds now.
``parts`` are the figures; of version 3, which had the counters among them, all is taken up.

Anchors are not among them: the charge that moved while the board was off is unknown. Ages are run
time, so they stand still meanwhile; what grows less sure by the time off (SOC, differences) says
by how much where it takes its figures up.
"""

import struct

from common.codes import Refusal
from common.mp import const
from firmware.estimators.lifetime import HOT, RUN, SOC_0

TYPE_CHECKING = False  # boards have no typing, and the estimators import this
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware.estimators.estimators import Estimators

_LIFETIME_VERSION = const(2)
_IN_MINUTES = const(1)
# version, words; then four remainders and the words, i32 each; the milliseconds of each word, u16
_LIFETIME = const("<BB")
_VERSION = const(4)
_WITH_COUNTERS = const(3)
# version, cells, lifetime words (version 3), rated mAh, profile CRC, run time s, SOH count
_HEAD = const("<BBHLLLL")
_SOC = const("<Bff")  # known, SOC, sigma
# offset uA, sigma uA, age s; self-discharge, variance, age s (-1: unknown)
_CHARGE = const("<lllffl")
_HEALTH = const("<ffffBL")  # per cell: SOH, variance, best variance, the cell's own, method, time
_RESISTANCE = const("<LL")  # readings, time of the last
_PAIR = const("<ff")  # per cell: resistance, variance
_POWER = const("<fffffl")  # R10 factor, sigma; efficiency, lo, hi (0: none), age s
_CELLS = const("<B")  # whether the differences are known
_CELL = const("<ffffl")  # per cell: difference, leak, their variances, uAh bled


def lifetime(e: "Estimators") -> bytes:
    """What ``take_lifetime`` takes up again: 336 bytes."""
    counters = e.lifetime
    data = bytearray(struct.pack(_LIFETIME, _LIFETIME_VERSION, len(counters.words)))
    for words in (counters.rest, counters.words):
        for word in words:
            data.extend(struct.pack("<l", word))
    for ms in counters.ms:
        data.extend(struct.pack("<H", ms))
    return bytes(data)


def take_lifetime(e: "Estimators", data: bytes) -> bool:
    """Take up the counters as far as both know them; ``False`` leaves them as they are."""
    at = struct.calcsize(_LIFETIME)
    if len(data) < at:
        return False
    version, n_words = struct.unpack_from(_LIFETIME, data, 0)
    minutes = version == _IN_MINUTES
    if version not in (_LIFETIME_VERSION, _IN_MINUTES):
        return False
    if len(data) != at + 16 + (4 if minutes else 6) * n_words:
        return False
    _counters(e, data, at, at + 16, n_words, minutes)
    if not minutes:
        for k in range(min(n_words, len(e.lifetime.ms))):
            e.lifetime.ms[k] = struct.unpack_from("<H", data, at + 16 + 4 * n_words + 2 * k)[0]
    return True


def _counters(
    e: "Estimators", data: bytes, rest_at: int, words_at: int, n_words: int, minutes: bool
) -> None:
    counters = e.lifetime
    for k in range(4):
        counters.rest[k] = struct.unpack_from("<l", data, rest_at + 4 * k)[0]
    for k in range(min(n_words, len(counters.words))):
        word = struct.unpack_from("<l", data, words_at + 4 * k)[0]
        if minutes and (HOT <= k <= RUN or k >= SOC_0):
            word *= 60
        counters.words[k] = word
    e.fec_centi = e.soh.fec_centi = counters.fec_centi()


def size(e: "Estimators") -> int:
    """Bytes of all ``parts``: 86, and 49 a cell."""
    return _state_bytes(e.n_cells)


def parts(e: "Estimators") -> "Iterator[bytes]":
    """What ``restore`` takes up again, piece by piece: a board may lack memory for all at once."""
    soc, soh, resistance = e.soc, e.soh, e.resistance
    offset, loss, cells = e.offset, e.self_discharge, e.differences
    now_s = e.now_s
    yield struct.pack(_HEAD, _VERSION, e.n_cells, 0, e.rated_mah, e.profile_crc, now_s, soh.count)
    level, var = soc.predict()
    yield struct.pack(_SOC, soc.known, level, var**0.5)
    yield struct.pack(
        _CHARGE, offset.bias_ua, int(offset.var_ua2**0.5 + 0.5), _age(offset.at_s, now_s),
        loss.rate, loss.var, _age(loss.at_s, now_s),
    )  # fmt: skip
    for i in range(e.n_cells):
        yield struct.pack(
            _HEALTH, soh.soh[i], soh.variance(i, now_s), soh.best[i], soh.own[i],
            soh.method[i], soh.at_s[i],
        )  # fmt: skip
    yield struct.pack(_RESISTANCE, resistance.count, resistance.at_s)
    for i in range(e.n_cells):
        yield struct.pack(_PAIR, resistance.r[i], resistance.var[i])
    yield _power(e)
    yield struct.pack(_CELLS, cells.known)
    for i in range(e.n_cells):
        yield struct.pack(
            _CELL, cells.d[i], cells.leak[i], cells.dd[i], cells.ll[i], cells.bled_uah[i]
        )


def restore(e: "Estimators", data: bytes, counters: "bytes | None") -> bool:
    """Take up ``lifetime`` and ``parts`` of before (``Estimators.restore``)."""
    counted = counters is not None and take_lifetime(e, counters)
    head = struct.calcsize(_HEAD)
    if len(data) < head:
        return False
    version, n, n_words, rated_mah, crc, now_s, count = struct.unpack_from(_HEAD, data, 0)
    words_bytes = 4 * (n_words + 4) if version == _WITH_COUNTERS else 0
    if version not in (_VERSION, _WITH_COUNTERS) or len(data) != _state_bytes(n) + words_bytes:
        return False
    at = head + words_bytes
    e.now_s = now_s
    e.fresh()
    if words_bytes and not counted:
        _counters(e, data, at - 16, head, n_words, True)
    e.fec_centi = e.soh.fec_centi = e.lifetime.fec_centi()
    if n != e.n_cells or rated_mah != e.rated_mah or crc != e.profile_crc:
        e.soh.refusal = Refusal.PROFILE_CHANGED
        return False
    known, level, sigma = struct.unpack_from(_SOC, data, at)
    at = _figures(e, data, at + struct.calcsize(_SOC), count)
    _cells(e, data, at)
    mean = e.soh.mean()
    if mean is not None:
        e.soh.refusal = Refusal.NONE
        e.soc.use_capacity(mean[0], mean[1])
    if known:
        e.soc.restore(level, sigma, now_s)
    e.refresh(now_s)
    return True


def _figures(e: "Estimators", data: bytes, at: int, count: int) -> int:
    """Offset, self-discharge, health and resistance; where the rest begins."""
    soh, resistance = e.soh, e.resistance
    charge = struct.unpack_from(_CHARGE, data, at)
    e.offset.restore(charge[0], charge[1], charge[2], e.now_s)
    e.self_discharge.restore(charge[3], charge[4], charge[5], e.now_s)
    at += struct.calcsize(_CHARGE)
    for i in range(e.n_cells):
        cell = struct.unpack_from(_HEALTH, data, at)
        soh.soh[i], soh.var[i], soh.best[i], soh.own[i], soh.method[i], soh.at_s[i] = cell
        at += struct.calcsize(_HEALTH)
    soh.count = count
    soh.restored(e.now_s)
    resistance.count, resistance.at_s = struct.unpack_from(_RESISTANCE, data, at)
    at += struct.calcsize(_RESISTANCE)
    for i in range(e.n_cells):
        resistance.r[i], resistance.var[i] = struct.unpack_from(_PAIR, data, at)
        at += struct.calcsize(_PAIR)
    return at


def _power(e: "Estimators") -> bytes:
    rte, lo, hi = e.efficiency.figure() or (0.0, 0.0, 0.0)
    energy = e.energy
    age_s = e.now_s - e.efficiency.at_s
    return struct.pack(_POWER, energy.factor, energy.factor_sigma, rte, lo, hi, age_s)


def _cells(e: "Estimators", data: bytes, at: int) -> None:
    power = struct.unpack_from(_POWER, data, at)
    e.energy.factor, e.energy.factor_sigma = power[0], power[1]
    if power[2]:
        e.efficiency.restore(power[2:5], e.now_s - power[5])
    at += struct.calcsize(_POWER)
    known = struct.unpack_from(_CELLS, data, at)[0]
    at += struct.calcsize(_CELLS)
    for i in range(e.n_cells):
        e.differences.restore(i, struct.unpack_from(_CELL, data, at))
        at += struct.calcsize(_CELL)
    e.differences.restored(known != 0, e.now_s)


def _state_bytes(n_cells: int) -> int:
    fixed = 0
    for part in (_HEAD, _SOC, _CHARGE, _RESISTANCE, _POWER, _CELLS):
        fixed += struct.calcsize(part)
    each = struct.calcsize(_HEALTH) + struct.calcsize(_PAIR) + struct.calcsize(_CELL)
    return fixed + n_cells * each


def _age(at_s: int, now_s: int) -> int:
    return now_s - at_s if at_s >= 0 else -1
