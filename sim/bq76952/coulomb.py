"""The coulomb counter: CC2 (now), CC1 (250 ms), CC3 (average), and the passed charge.

The converter's 32-bit count is VREF2 / (5 x 2^23) = 29.56 nV [TRM], the 16-bit count 256 of them.
CC Gain is microvolt per 16-bit count over the shunt in milliohm, so counts x CC Gain = mA [TRM].
Capacity Gain = CC Gain x 2^32 / 14400: 2^-32 mAh per 16-bit count and 250 ms (2^32 / 14400 =
298261.6178, the factor TI gives). The chip therefore believes whatever gains were written: a wrong
one gives a wrong current or a wrong charge, independently of each other.
"""

from .memory import DataMemory

VREF2_V = 1.24
COUNT_UV = VREF2_V * 1e6 / (5 * (1 << 23))
COUNTS_PER_16BIT = 256
CC1_S = 0.25
PASSQ_AFTER_RESET = 0x7FFFFFFF  # 0.5 userAh, so that the integer part rounds
_MA_PER_USERA = (0.1, 1.0, 10.0, 100.0)
CC2_NOISE_UV = 2.0
_I32_MAX = (1 << 31) - 1


def _clamp16(value: float) -> int:
    return max(-32768, min(32767, round(value)))


class CoulombCounter:
    """Turns the true current into counts, userA and userAh.

    ``offset_uv`` and ``gain`` are the analogue front end's errors, unknown to the host.
    """

    def __init__(self, shunt_uohm: float, offset_uv: float, gain: float) -> None:
        self._uv_per_a = shunt_uohm
        self._offset_uv = offset_uv
        self._gain = gain
        self.reset()

    def reset(self) -> None:
        """Power-on: nothing measured, the charge as after RESET_PASSQ."""
        self._cc1_residue_s = self._cc1_sum = 0.0
        self.counts = 0
        self.cc1_counts = self.cc3_counts = 0.0
        self.reset_charge()

    def configure(self, memory: DataMemory) -> None:
        """Take over the gains, offsets and units."""
        self.ma_per_usera = _MA_PER_USERA[memory.integer("da_configuration") & 0x03]
        self._cc_gain = memory.real("cc_gain")
        self._capacity_gain = memory.real("capacity_gain")
        samples = memory.integer("cc_offset_samples")
        self._board_offset = memory.integer("board_offset") / samples if samples else 0.0
        self._cc3_s = 0.003 * max(2, memory.integer("cc3_samples"))

    def reset_charge(self) -> None:
        """RESET_PASSQ: charge to 0.5 userAh, time to 0."""
        self.passq = PASSQ_AFTER_RESET  # 2^-32 userAh
        self._passq_residue = 0.0
        self.time_s = 0.0

    def step(self, dt_s: float, current_a: float, noise: float) -> None:
        """Integrate ``current_a`` for ``dt_s``; ``noise`` is a draw of standard deviation 1."""
        uv = current_a * self._uv_per_a * self._gain + self._offset_uv
        self.counts = max(-_I32_MAX, min(_I32_MAX, round((uv + noise * CC2_NOISE_UV) / COUNT_UV)))
        counts = uv / COUNT_UV
        share = dt_s / (dt_s + self._cc3_s) if dt_s < self._cc3_s else 1.0
        self.cc3_counts += share * (counts - self.cc3_counts)
        self._cc1_sum += counts * dt_s
        self._cc1_residue_s += dt_s
        if self._cc1_residue_s >= CC1_S:
            self.cc1_counts = self._cc1_sum / self._cc1_residue_s
            self._cc1_sum = self._cc1_residue_s = 0.0
        charge = (counts - self._board_offset) / COUNTS_PER_16BIT * self._capacity_gain * (
            dt_s / CC1_S
        ) / self.ma_per_usera + self._passq_residue
        whole = int(charge)
        self._passq_residue = charge - whole
        self.passq += whole
        self.time_s += dt_s

    def user_a(self, counts: float) -> int:
        """What the chip reports for ``counts``: I2 in userA, saturated."""
        return _clamp16(self.current_ma(counts) / self.ma_per_usera)

    def current_ma(self, counts: float) -> float:
        """What the chip believes the current to be, in mA."""
        return (counts - self._board_offset) / COUNTS_PER_16BIT * self._cc_gain

    def shunt_uv(self, current_a: float) -> float:
        """The true voltage across the shunt, positive when charging: what the comparators see."""
        return current_a * self._uv_per_a
