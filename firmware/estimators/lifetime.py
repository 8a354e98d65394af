"""What a pack has been through: throughput, extremes, harmful time, histograms. Integers.

Charge is counted in 0.1 Ah with a remainder in micro-ampere-hours, energy in 0.1 Wh with one in
units of 0.01 uWh (10 mV times 1 uAh), rounded to one at each reading; beyond 31 bits the product
merely allocates. Time is counted in seconds with a remainder in milliseconds: that since the last
reading goes where this reading belongs. So each counter is exact to its unit, whatever the steps.

Current is binned by the rated capacity C, rest being up to C/200 (10 mA at least):

    bin         0     1          2           3           4     5 to 8
    discharge   >= C  >= 0.5 C   >= 0.2 C    below that  rest  the same in charge, reversed

An evolution needs its beginning: the first figures ever known of round-trip efficiency and
self-discharge are kept with their intervals, and with the age of the pack's record at that time.
"""

from array import array
from struct import pack

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
CURRENT_0 = const(35)
RTE = const(44)  # first figure, lo, hi in basis points, minutes of run time then; -1: none yet
SELF = const(48)  # likewise, basis points a month
STATE = const(52)  # bit 0: a deep discharge goes on, 1: an overcharge does
_N = const(53)
_MIDDLE = const(39)  # bin of no current

_POINTS = const((
    "ChaAh", "DisAh", "ChaWh", "DisWh", "NDeep", "NOver", "HotMin", "ColdMin", "HotChaMin",
    "ColdChaMin", "RunMin", "VMinEver", "VMaxEver", "TMinEver", "TMaxEver", "AChaEver", "ADisEver",
))  # fmt: skip
_TOLD = const(">27L3hl3hl")
_MOST_BP = const(30000)
_CHANGE = const(("SelfChg", "SelfChgLo", "SelfChgHi"))


class Lifetime:
    """Counters that only grow; ``words``, ``rest`` and ``ms`` are what must survive power-off.

    ``urgent``: a deep discharge or overcharge was counted, which should be saved soon.
    """

    def __init__(self, settings: Settings) -> None:
        self._profile = settings.profile
        self._rated_mah = settings.rated_mah
        self._rest_ma = max(self._rated_mah // 200, 10)
        self.words = array("i", bytes(4 * _N))
        self.words[V_MIN] = 0x7FFF
        self.words[T_MIN] = 0x7FFF
        self.words[T_MAX] = -0x7FFF
        for k in range(RTE, STATE):
            self.words[k] = -1
        self.rest = array("i", bytes(16))  # remainders of the first four
        self.ms = array("H", bytes(2 * _N))  # remainders of those that count time
        self.urgent = False

    def update(self, s: Snapshot, soc_bp: "int | None", plausible: bool = True) -> None:
        """Count one valid snapshot; only a plausible one can be the highest or lowest ever."""
        delta = s.delta_uah
        if delta > 0:
            self._add(CHARGED, delta, _UAH_PER_DAH)
            self._add(ENERGY_IN, (s.sum_mv * delta + 5) // 10, _UNITS_PER_DWH)
        elif delta < 0:
            self._add(DISCHARGED, -delta, _UAH_PER_DAH)
            self._add(ENERGY_OUT, (s.sum_mv * -delta + 5) // 10, _UNITS_PER_DWH)
        if plausible:
            self._extremes(s)
        self._time(s, soc_bp)

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
        self._event(1, DEEP, profile.cell_deep_mv - low_mv)
        self._event(2, OVER, high_mv - profile.cell_max_mv)

    def _event(self, bit: int, counter: int, beyond_mv: int) -> None:
        words = self.words
        if words[STATE] & bit:
            if beyond_mv <= -_BACK_MV:
                words[STATE] -= bit
        elif beyond_mv > 0:
            words[STATE] += bit
            words[counter] += 1
            self.urgent = True

    def _count(self, counter: int, ms: int) -> None:
        ms += self.ms[counter]
        self.words[counter] += ms // 1000
        self.ms[counter] = ms % 1000

    def _time(self, s: Snapshot, soc_bp: "int | None") -> None:
        count = self._count
        profile = self._profile
        ms = s.dt_ms
        count(RUN, ms)
        if soc_bp is not None:
            count(SOC_0 + min(soc_bp * N_SOC_BINS // 10000, N_SOC_BINS - 1), ms)
        ma = s.current_ma
        size_ma = ma if ma >= 0 else -ma
        at = 0
        if size_ma > self._rest_ma:
            c = self._rated_mah
            at = 1 + (5 * size_ma >= c) + (2 * size_ma >= c) + (size_ma >= c)
        count(_MIDDLE + (at if ma > 0 else -at), ms)
        coldest_dc = s.min_dc
        hottest_dc = s.max_dc
        if coldest_dc == UNKNOWN_DC:
            return
        at = 0
        while at < N_TEMPERATURE_BINS - 1 and hottest_dc >= _EDGES_DC[at]:
            at += 1
        count(TEMPERATURE_0 + at, ms)
        if hottest_dc > profile.discharge_max_dc:
            count(HOT, ms)
        if coldest_dc < profile.discharge_min_dc:
            count(COLD, ms)
        if ma > self._rest_ma:
            if hottest_dc > profile.charge_max_dc:
                count(HOT_CHARGING, ms)
            if coldest_dc < profile.charge_min_dc:
                count(COLD_CHARGING, ms)

    def keep_first(self, at: int, figure: "tuple[float, float, float] | None", at_s: int) -> None:
        """Keep the first ``(figure, lo, hi)`` of ``RTE`` or ``SELF``, measured at ``at_s``."""
        words = self.words
        if figure is not None and words[at + 3] < 0:
            words[at] = min(int(figure[0] + 0.5), _MOST_BP)
            words[at + 1] = int(figure[1])
            words[at + 2] = min(int(figure[2]) + 1, _MOST_BP)
            words[at + 3] = at_s // 60

    def fec_centi(self) -> int:
        """Full equivalent cycles in hundredths: throughput / (2 x rated)."""
        words = self.words
        return (words[CHARGED] + words[DISCHARGED]) * 5000 // self._rated_mah

    def publish(
        self, block: Block, loss: "tuple[float, float, float] | None" = None, loss_s: int = -1
    ) -> None:
        """Write every point of the lifetime model that is ours to write.

        ``loss``: the self-discharge known now, ``loss_s``: when it was measured.
        """
        words = self.words
        put = block.set
        for k in range(len(_POINTS)):
            put(_POINTS[k], words[k] // 60 if HOT <= k <= RUN else words[k])
        put("Fec", self.fec_centi())
        if words[V_MAX] == 0:
            put("VMinEver", None)
            put("VMaxEver", None)
        if words[T_MAX] == -0x7FFF:
            put("TMinEver", None)
            put("TMaxEver", None)
        # As they stand side by side, in words and registers; -1 is what is not available there.
        told = [word // 60 for word in words[SOC_0:RTE]]
        told.extend(words[RTE:STATE])
        block.put_bytes(2 * block.layout.offset("Soc0"), bytearray(pack(_TOLD, *told)))
        self._publish_change(block, loss, loss_s)

    def _publish_change(
        self, block: Block, loss: "tuple[float, float, float] | None", loss_s: int
    ) -> None:
        """Self-discharge now against the first known, in 0.01 %, once it was measured anew."""
        words = self.words
        first_min = words[SELF + 3]
        change: "list[int | None]" = [None] * 3
        if loss is not None and first_min >= 0 and first_min != loss_s // 60:
            for k, against in ((0, 0), (1, 2), (2, 1)):
                first = words[SELF + against]
                if first:
                    change[k] = int(loss[k] * 10000 / first) - 10000 + (k == 2)
        for k in range(3):
            block.set(_CHANGE[k], change[k])
