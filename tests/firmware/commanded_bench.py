"""A pack on a test bench for both interpreters: cells, protection, commanded tests, and a source.

The source follows the request of the cycle before, CC-CV with the voltage limit of protection.
"""

from core_fakes import healthy, set_cells, set_temperatures

from common import models
from common.registers import RegisterMap
from firmware.cell_tests import CellTests
from firmware.protection import Protection
from firmware.settings import Settings

BOOT = 7


def ocv_mv(profile, soc):
    """Linear between the profile's points; beyond full it rises steeply."""
    bp = max(0.0, 10000 * soc)
    x, y = profile.soc_bp, profile.ocv_mv
    if bp > 10000:
        return y[-1] + (bp - 10000)
    k = 1
    while x[k] < bp:
        k += 1
    return y[k - 1] + (y[k] - y[k - 1]) * (bp - x[k - 1]) / (x[k] - x[k - 1])


class Bench:
    def __init__(
        self, soh=(0.8, 0.8, 0.75, 0.8), soc=0.6, profile="nmc", rated_mah=10000, dt_ms=1000
    ):
        n = len(soh)
        self.settings = Settings("BENCH", n, profile, rated_mah)
        self.block = RegisterMap(n).block(models.TEST)
        self.tests = CellTests(self.settings, self.block, BOOT)
        self.protection = Protection(self.settings)
        self.s = healthy(n)
        self.s.switches = 3
        self.s.seq = 0
        self.capacity_mah = [rated_mah * x for x in soh]
        self.soc = [soc] * n
        self.r_mohm = [8.0] * n
        self.dt_ms = dt_ms
        self.temp_dc = 250
        self.flowing_ma = 0.0
        self.factor = 1.0  # of the request that really flows
        self.stuck = False  # the source does not turn off
        self.rest_uah = 0.0
        self.moved_mah = [0.0, 0.0]  # truly, charged and discharged
        self.cycle(10)

    def start(self, kind):
        return self.tests.start(kind, self.s, self.protection, None)

    def _source(self, emf_mv):
        asked_ma = self.tests.request_ma * self.factor
        if self.stuck and not asked_ma:
            return
        if asked_ma > 0:
            room_mv = self.protection.cvl_mv - sum(emf_mv)
            asked_ma = max(0.0, min(asked_ma, 1000 * room_mv / sum(self.r_mohm)))
        self.flowing_ma = asked_ma

    def cycle(self, cycles=1):
        s = self.s
        for _ in range(cycles):
            emf_mv = [ocv_mv(self.settings.profile, soc) for soc in self.soc]
            self._source(emf_mv)
            ma = self.flowing_ma
            moved_mah = ma * self.dt_ms / 3600000
            for i in range(len(self.soc)):
                self.soc[i] += moved_mah / self.capacity_mah[i]
            self.moved_mah[0 if ma > 0 else 1] += abs(moved_mah)
            uah = 1000 * moved_mah + self.rest_uah
            s.delta_uah = int(uah)
            self.rest_uah = uah - s.delta_uah
            s.current_ma = int(ma)
            s.dt_ms = self.dt_ms
            s.seq += 1
            s.uptime_s += self.dt_ms // 1000
            set_cells(
                s,
                [int(emf + r * ma / 1000 + 0.5) for emf, r in zip(emf_mv, self.r_mohm)],  # noqa: B905
            )
            set_temperatures(s, self.temp_dc)
            self.judge()

    def judge(self):
        """What the application does with a cycle, measured or not."""
        s = self.s
        self.protection.update(s)
        if self.tests.update(s, self.protection):
            self.tests.finish(None)
        self.tests.publish(s.seq, None)

    def run(self, most=100000):
        """Cycles until the test has ended; how many those were."""
        for k in range(most):
            if not self.tests.busy:
                return k
            self.cycle()
        raise AssertionError("the test does not end")

    def read(self):
        return self.block.layout.decode(self.block.bytes())
