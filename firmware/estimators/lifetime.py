"""What a pack has been through: throughput, extremes, harmful minutes, histograms. Integers.

Charge is counted in 0.1 Ah with a remainder in micro-ampere-hours, energy in 0.1 Wh with one in
units of 0.01 uWh (10 mV times 1 uAh); the product stays within 31 bits up to 600 A at 60 V in a
second, and beyond that the interpreter merely allocates.
"""

from array import array

from common.models import N_SOC_BINS, N_TEMPERATURE_BINS
from common.mp import const
from common.registers import Block
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_UAH_PER_DAH = const(100000)
_UNITS_PER_DWH = const(10000000)
_EDGES_DC = const((0, 100, 200, 300, 400, 450, 600))
_BACK_MV = const(50)  # a deep discharge or overcharge is over when left this far behind

CHARGED = const(0)
DISCHARGED = const(1)
ENERGY_IN = const(2)
ENERGY_OUT = const(3)
DEEP = const(4)
OVER = const(5)
HOT = const(6)
COLD = const(7)
HOT_CHARGING = const(8)
COLD_CHARGING = const(9)
RUN = const(10)
V_MIN = const(11)
V_MAX = const(12)
T_MIN = const(13)
T_MAX = const(14)
A_CHARGE = const(15)
A_DISCHARGE = const(16)
SOC_0 = const(17)
TEMPERATURE_0 = const(27)
_N = const(35)

_POINTS = const((
    "ChaAh", "DisAh", "ChaWh", "DisWh", "NDeep", "NOver", "HotMin", "ColdMin", "HotChaMin",
    "ColdChaMin", "RunMin", "VMinEver", "VMaxEver", "TMinEver", "TMaxEver", "AChaEver", "ADisEver",
))  # fmt: skip


class Lifetime:
    """Counters that only grow; ``words`` is what must survive power-off."""

    def __init__(self, settings: Settings) -> None:
        self._profile = settings.profile
        self._rated_mah = settings.rated_mah
        self._rest_ma = max(self._rated_mah // 200, 10)
        self.words = array("i", bytes(4 * _N))
        self.words[V_MIN] = 0x7FFF
        self.words[T_MIN] = 0x7FFF
        self.words[T_MAX] = -0x7FFF
        self.rest = array("i", bytes(16))  # remainders of the first four
        self._ms = 0
        self._deep = self._over = False

    def update(self, s: Snapshot, soc_bp: "int | None", plausible: bool = True) -> None:
        """Count one valid snapshot; only a plausible one can be the highest or lowest ever."""
        delta = s.delta_uah
        if delta > 0:
            self._add(CHARGED, delta, _UAH_PER_DAH)
            self._add(ENERGY_IN, s.sum_mv // 10 * delta, _UNITS_PER_DWH)
        elif delta < 0:
            self._add(DISCHARGED, -delta, _UAH_PER_DAH)
            self._add(ENERGY_OUT, s.sum_mv // 10 * -delta, _UNITS_PER_DWH)
        if plausible:
            self._extremes(s)
        self._ms += s.dt_ms
        while self._ms >= 60000:
            self._ms -= 60000
            self._minute(s, soc_bp)

    def _add(self, counter: int, amount: int, unit: int) -> None:
        total = self.rest[counter] + amount
        if total >= unit:
            whole = total // unit
            self.words[counter] += whole
            total -= whole * unit
        self.rest[counter] = total

    def _extremes(self, s: Snapshot) -> None:
        words = self.words
        low_mv = s.min_mv
        high_mv = s.max_mv
        current_ma = s.current_ma
        words[V_MIN] = min(words[V_MIN], low_mv)
        words[V_MAX] = max(words[V_MAX], high_mv)
        if current_ma > words[A_CHARGE]:
            words[A_CHARGE] = current_ma
        elif -current_ma > words[A_DISCHARGE]:
            words[A_DISCHARGE] = -current_ma
        coldest_dc = s.min_dc
        if coldest_dc != UNKNOWN_DC:
            words[T_MIN] = min(words[T_MIN], coldest_dc)
            words[T_MAX] = max(words[T_MAX], s.max_dc)
        profile = self._profile
        if self._deep:
            self._deep = low_mv < profile.cell_deep_mv + _BACK_MV
        elif low_mv < profile.cell_deep_mv:
            self._deep = True
            words[DEEP] += 1
        if self._over:
            self._over = high_mv > profile.cell_max_mv - _BACK_MV
        elif high_mv > profile.cell_max_mv:
            self._over = True
            words[OVER] += 1

    def _minute(self, s: Snapshot, soc_bp: "int | None") -> None:
        words = self.words
        profile = self._profile
        words[RUN] += 1
        if soc_bp is not None:
            words[SOC_0 + min(soc_bp * N_SOC_BINS // 10000, N_SOC_BINS - 1)] += 1
        coldest_dc = s.min_dc
        hottest_dc = s.max_dc
        if coldest_dc == UNKNOWN_DC:
            return
        at = 0
        while at < N_TEMPERATURE_BINS - 1 and hottest_dc >= _EDGES_DC[at]:
            at += 1
        words[TEMPERATURE_0 + at] += 1
        words[HOT] += hottest_dc > profile.discharge_max_dc
        words[COLD] += coldest_dc < profile.discharge_min_dc
        if s.current_ma > self._rest_ma:
            words[HOT_CHARGING] += hottest_dc > profile.charge_max_dc
            words[COLD_CHARGING] += coldest_dc < profile.charge_min_dc

    def fec_centi(self) -> int:
        """Full equivalent cycles in hundredths: throughput / (2 x rated)."""
        words = self.words
        return (words[CHARGED] + words[DISCHARGED]) * 5000 // self._rated_mah

    def publish(self, block: Block) -> None:
        """Write every point of the lifetime model that is ours to write."""
        words = self.words
        put = block.set
        for k in range(len(_POINTS)):
            put(_POINTS[k], words[k])
        put("Fec", self.fec_centi())
        if words[V_MAX] == 0:
            put("VMinEver", None)
            put("VMaxEver", None)
        if words[T_MAX] == -0x7FFF:
            put("TMinEver", None)
            put("TMaxEver", None)
        for k in range(N_SOC_BINS):
            put(_SOC_POINTS[k], words[SOC_0 + k])
        for k in range(N_TEMPERATURE_BINS):
            put(_TEMPERATURE_POINTS[k], words[TEMPERATURE_0 + k])


_SOC_POINTS = tuple(["Soc%d" % n for n in range(N_SOC_BINS)])
_TEMPERATURE_POINTS = tuple(["Tmp%d" % n for n in range(N_TEMPERATURE_BINS)])
