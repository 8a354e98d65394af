"""Passed charge from the BQ76952's own integral, in whole micro-Ah, nothing lost.

DASTATUS6 gives the integral as whole user Ah (signed, 32 bits) and a fraction (unsigned, of 2^32)
that is always added: -1 and 0.82717 is -0.17283 user Ah. Behind them stand the seconds for which
it has been counting. Differences of successive readings are taken in 1/65536 user Ah and turned
into micro-Ah by an exact ratio n / 2^s; the remainder is carried to the next reading.

Number format: the 48 bits are kept as three words, so that all integers of a usual step (up to
130 mAh in units of 1 mA, 260 in 10 mA, 520 in 100 mA) fit the 31 bits that boards hold without
allocating; greater steps are right as well.

    >>> charge = PassedCharge()
    >>> charge.restart(1)
    >>> charge.take(data, 2)
    >>> charge.count()
    0

Source: TI SLUUBY2B 4.4 and DASTATUS6; TI support forum, thread 970294.
"""

# unit of current in mA: (n, s) with 1/65536 user Ah = n / 2^s micro-Ah
_RATIO = {1: (125, 13), 10: (625, 12), 100: (3125, 11)}

BYTES = 12  # of the answer that are needed


class PassedCharge:
    """Turns readings of the integral into differences."""

    def __init__(self) -> None:
        self._n = 0
        self._shift = 0
        self._remainder = 0  # 0 .. 2^shift - 1
        self._counting = False  # whether there is a reading to take the difference to
        self._last = [0, 0, 0]  # 16 bits each, low first
        self._now = [0, 0, 0]
        self._last_s = [0, 0]
        self._now_s = [0, 0]

    def restart(self, user_ma: int) -> None:
        """Begin anew, with the chip counting in ``user_ma`` (1, 10 or 100)."""
        self._n, self._shift = _RATIO[user_ma]
        self._remainder = 0
        self._counting = False

    def take(self, data: "bytes | bytearray", at: int) -> None:
        """Note the answer that begins at ``data[at]``; it counts only with ``count``."""
        now = self._now
        now[0] = data[at + 6] | data[at + 7] << 8
        now[1] = data[at] | data[at + 1] << 8
        now[2] = data[at + 2] | data[at + 3] << 8
        self._now_s[0] = data[at + 8] | data[at + 9] << 8
        self._now_s[1] = data[at + 10] | data[at + 11] << 8

    def moved(self) -> bool:
        """Whether the chip's seconds went on between the last ``count`` and the last ``take``."""
        return self._now_s[0] != self._last_s[0] or self._now_s[1] != self._last_s[1]

    def count(self) -> int:
        """Micro-Ah since the last ``count``; 0 at first and when the chip's counter began anew."""
        now, last = self._now, self._last
        now_s, last_s = self._now_s, self._last_s
        restarted = now_s[1] < last_s[1] or (now_s[1] == last_s[1] and now_s[0] < last_s[0])
        uah = 0
        if self._counting and not restarted:
            # Whole user Ah count modulo 2^32: the difference of two readings is always small.
            high = ((now[2] - last[2] + 0x8000) & 0xFFFF) - 0x8000
            whole = high * 0x10000 + now[1] - last[1]
            total = (whole * 0x10000 + now[0] - last[0]) * self._n + self._remainder
            uah = total >> self._shift
            self._remainder = total - (uah << self._shift)
        self._counting = True
        for i in range(3):
            last[i] = now[i]
        last_s[0] = now_s[0]
        last_s[1] = now_s[1]
        return uah
