"""State of charge of the mean cell by a Kalman filter over an equivalent circuit (``common.ecm``).

The charge is counted in integers and enters the state in whole steps of about 0.01 %. The states,
in units that keep a 32-bit covariance well scaled:

    z    SOC, 1 %             z' = z + q / C
    b    voltage error, mV    of the circuit and the table: wanders over bias_span of charge
    rho  resistance, 1 %      of all resistances against the profile: wanders over r_s

    V = OCV(z) + (T - 25) dOCV/dT(z) + h M(z) + b + (1 + rho) e,    e = R0 I + R1 x1 + R2 x2

``x1``, ``x2`` (lagged currents) and the hysteresis ``h`` follow the current alone. The row of the
measurement is ``(dOCV/dz, 1, e)``; the slope is taken as a secant over one deviation of ``z``
to either side, so that a plateau is as flat, and a knee as steep, as the doubt about ``z`` sees
it. The flatter side counts, lest a cliff at one end of a plateau make the filter sure of the
plateau; a reading that is clearly off, however, takes the side to which it points.

Honesty about the model: a circuit is wrong in the same way for minutes, so that readings one
second apart are not independent. What is wrong for long is the state ``b`` (a plateau drags
``b``, not ``z``); what is wrong for ``fast_s`` is measurement noise, multiplied by the
``2 fast_s / dt`` readings that share it. Where the readings leave the interval the filter gives
itself (mean of nu^2 / S above 1) the noise is raised by that factor at once. The count's errors
(capacity, gain, offset) repeat as well and enter as the random walk with their correlation
length. G. Plett, J. Power Sources 134 (2004) 277, for the filter without these.

    >>> filter = SocFilter(circuit("nca"), 2900)
    >>> filter.start(90.0, 10.0)
    >>> filter.update(3700, -2900, 250, -806, 1000)  # mV, mA, 0.1 degC, uAh, ms
    >>> filter.z, filter.sigma()
"""

import math
from array import array

from common.ecm import Ecm
from common.mp import const

_EVERY = const(2)  # weighed readings between two looks into the tables
_SPAN_PCT = const(25.0)  # charge over which the errors of capacity and gain repeat
_SPAN_S = const(36000.0)  # time over which the offset's does
_HYSTERESIS = const(0.5)  # of its half width: what is not known of where in the loop the cell is
_REOPEN_MS = const(300000.0)  # time in which an excess of 1 doubles the covariance
_QUANTUM_PCT = const(0.01)  # about, by which the charge is counted into z: no 32-bit sum of crumbs
_AGE_MS = const(8000)
_WEIGH_MS = const(3500)  # readings nearer than that say the same: every fourth at 1 Hz is used
_DAY_S = const(86400.0)
_MEMORY_MS = const(256000.0)  # of the innovation's mean square
_SIGMA_MAX = const(15.0)
_FAR = const(4.0)  # squared deviations at which a reading points to a side
_LO_PCT = -3.0
_HI_PCT = const(103.0)


class SocFilter:
    """``z`` in %, ``bias_mv``, ``rho_pct``; ``sigma()`` is the deviation of ``z``."""

    def __init__(self, ecm: Ecm, rated_mah: int, offset_ma: float = 0.0) -> None:
        self.ecm = ecm
        self._table_at = 0
        self._r_at = 0
        self._t_at = 0
        self._offset_ma = offset_ma
        self.use_capacity(rated_mah, ecm.capacity_pm / 1000)
        self._bias_var = float(ecm.bias_mv * ecm.bias_mv)
        self._r_var = ecm.r_pm * ecm.r_pm / 100.0
        self._half = 0.0
        self._left_uah = 0
        self._wait_ms = 0
        self.start(50.0, 30.0)

    def use_capacity(self, mah: float, sigma: float) -> None:
        """Capacity of the mean cell and its relative deviation."""
        self.capacity_mah = mah
        relative = sigma * sigma + 0.005 * 0.005
        self._walk = 2 * relative * _SPAN_PCT  # %^2 per % of charge
        self.use_offset(self._offset_ma)
        self._quantum_uah = max(1, int(mah * 10 * _QUANTUM_PCT + 0.5))
        self._quantum_pct = self._quantum_uah / (mah * 10)

    def use_offset(self, ma: float) -> None:
        """Deviation of what is left of the current sensor's offset."""
        self._offset_ma = ma
        drift = ma / self.capacity_mah * 100 / 3600  # % a second
        self._drift = 2 * drift * drift * _SPAN_S

    def start(self, z: float, sigma: float, rested: bool = False) -> None:
        """Forget all; begin at ``z`` % with deviation ``sigma``.

        Unless the cell has rested, its slow lag is unknown by what C/2 would have made of it:
        that is so much more doubt about the voltage, which passes with the lag's own time.
        """
        self.z = z
        self.bias_mv = 0.0
        self.rho_pct = 0.0
        self.x1 = self.x2 = 0.0  # mA
        self.h = 0.0
        self._moved = 0.0
        self._aged_ms = 0
        self.pzz = sigma * sigma
        self.pzb = self.pzr = self.pbr = 0.0
        self.pbb = self._bias_var
        self.prr = self._r_var
        self.excess = 1.0  # mean of nu^2 / S
        self._due = 0
        self._z0 = z
        self._unrested = not rested

    def sigma(self) -> float:
        """Standard deviation of ``z`` in %."""
        return math.sqrt(self.pzz)

    def anchor(self, z: float, sigma: float) -> float:
        """Weigh in a SOC that was told otherwise; the weight it got."""
        s = self.pzz + sigma * sigma
        gain = self.pzz / s
        nu = z - self.z
        kb = self.pzb / s
        kr = self.pzr / s
        self.z += gain * nu
        self.bias_mv += kb * nu
        self.rho_pct += kr * nu
        self.pbb -= kb * self.pzb
        self.prr -= kr * self.pzr
        self.pbr -= kb * self.pzr
        keep = 1 - gain
        self.pzb *= keep
        self.pzr *= keep
        self.pzz *= keep
        return gain

    def update(self, mv: float, ma: int, dc: int, delta_uah: int, dt_ms: int) -> None:
        """One reading: voltage, current, temperature, charge since the last, time since it."""
        self.count(ma, delta_uah, dt_ms)
        self._wait_ms += dt_ms
        if self._wait_ms < _WEIGH_MS:
            return
        dt_ms = self._wait_ms
        self._wait_ms = 0
        self._due -= 1
        off = self.z - self._z0
        if self._due < 0 or off > 0.5 or off < -0.5:
            self._look(dc)
            off = 0.0
        e = (self._r0 * ma + self._r1 * self.x1 + self._r2 * self.x2) * 0.001
        self._weigh(mv, e, off, dt_ms)

    def count(self, ma: int, delta_uah: int, dt_ms: int) -> None:
        """The prediction alone: for a cycle whose voltage is not to be used."""
        ecm = self.ecm
        k1 = dt_ms / ecm.tau1_ms
        k2 = dt_ms / ecm.tau2_ms
        if dt_ms > 2500:
            k1 = 1 - math.exp(-k1)
            k2 = 1 - math.exp(-k2)
        else:
            k1 -= 0.5 * k1 * k1
            k2 -= 0.5 * k2 * k2
        self.x1 += k1 * (ma - self.x1)
        self.x2 += k2 * (ma - self.x2)
        left = self._left_uah + delta_uah
        quanta = left // self._quantum_uah
        if quanta:
            left -= quanta * self._quantum_uah
            dz = quanta * self._quantum_pct
            self.z += dz
            self._moved += dz if dz > 0 else -dz
            if ecm.hysteresis_bp:
                share = min(1.0, abs(dz) * 100 / ecm.hysteresis_bp)
                self.h += share * ((1.0 if dz > 0 else -1.0) - self.h)
        self._left_uah = left
        self._aged_ms += dt_ms
        if self._aged_ms >= _AGE_MS:
            self._age()

    def _age(self) -> None:
        """What the covariance and the wandering states do in the time that has passed."""
        ecm = self.ecm
        dt_s = self._aged_ms * 0.001
        moved = self._moved
        self._aged_ms = 0
        self._moved = 0.0
        f = moved * 100 / ecm.bias_span_bp + dt_s / _DAY_S
        if self.pbb > 2 * self._bias_var:
            f = max(f, dt_s * 1000 / ecm.tau2_ms)  # an unknown lag dies off with its time
        f = min(1.0, f)
        keep = 1 - f
        self.bias_mv *= keep
        self.pbb += f * (2 - f) * (self._bias_var - self.pbb)
        self.pzb *= keep
        self.pbr *= keep
        f = min(1.0, dt_s / ecm.r_s)
        keep = 1 - f
        self.rho_pct *= keep
        self.prr += f * (2 - f) * (self._r_var - self.prr)
        self.pzr *= keep
        self.pbr *= keep
        self.pzz += self._walk * moved + self._drift * dt_s

    def _weigh(self, mv: float, e: float, off: float, dt_ms: int) -> None:
        ecm = self.ecm
        hr = e * 0.01
        hz = min(self._rise, self._fall)
        nu = mv - self._ocv - hz * off - self.bias_mv - e - hr * self.rho_pct
        far = False
        if nu * nu > _FAR * (self.pbb + ecm.fast_mv * ecm.fast_mv):
            hz = self._rise if nu > 0 else self._fall
            far = True
        az = self.pzz * hz + self.pzb + self.pzr * hr
        ab = self.pzb * hz + self.pbb + self.pbr * hr
        ar = self.pzr * hz + self.pbr + self.prr * hr
        share = ecm.fast_pm * 0.001 * e
        fast = ecm.fast_mv * ecm.fast_mv + share * share
        own = hz * az + ab + hr * ar
        ratio = nu * nu / (own + fast)
        self.excess += min(0.1, dt_ms / _MEMORY_MS) * (min(ratio, 25.0) - self.excess)
        fast *= max(1.0, 2000 * ecm.fast_s / dt_ms)
        if self.excess > 1:
            fast *= self.excess
            if self.pzz < _SIGMA_MAX * _SIGMA_MAX:
                self._reopen(1 + min(3.0, self.excess - 1) * dt_ms / _REOPEN_MS)
        if ratio > 9:
            fast *= ratio / 9
        s = 1 / (own + fast)
        kz = az * s
        kb = ab * s
        kr = ar * s
        self.z = min(_HI_PCT, max(_LO_PCT, self.z + kz * nu))
        self.bias_mv += kb * nu
        self.rho_pct = max(-80.0, self.rho_pct + kr * nu)
        if far:
            return  # on its way: no surer before it has arrived
        self.pzz = max(self.pzz - kz * az, 0.01)
        self.pzb -= kz * ab
        self.pzr -= kz * ar
        self.pbb = max(self.pbb - kb * ab, 0.01)
        self.pbr -= kb * ar
        self.prr = max(self.prr - kr * ar, 0.01)

    def _reopen(self, grow: float) -> None:
        """The filter is surer of itself than the readings allow: all its doubt grows."""
        self.pzz *= grow
        self.pzb *= grow
        self.pzr *= grow
        self.pbb *= grow
        self.pbr *= grow
        self.prr *= grow

    # --- tables ---------------------------------------------------------------------------

    def _look(self, dc: int) -> None:
        """OCV, slope and resistances at the present SOC and temperature."""
        self._due = _EVERY
        z = self._z0 = self.z
        wide = min(10.0, max(0.5, math.sqrt(self.pzz)))
        warm = (dc - 250) * 0.0001  # (T - 25) in mV per uV/K
        above = self.rested(z + wide, warm)
        below = self.rested(z - wide, warm)
        here = self._ocv = self.rested(z, warm)
        self._rise = max(0.0, (above - here) / wide)
        self._fall = max(0.0, (here - below) / wide)
        ecm = self.ecm
        steep = ecm.bias_bp * 0.005 * (self._rise + self._fall)
        turn = _HYSTERESIS * self._half
        self._bias_var = ecm.bias_mv * ecm.bias_mv + steep * steep + turn * turn
        self._resistances(dc)
        if self._unrested:
            self._unrested = False
            lag_mv = self._r2 * self.capacity_mah * 0.0005
            self.pbb = self._bias_var + lag_mv * lag_mv + self._half * self._half

    def rested(self, z: float, warm: float) -> float:
        """Voltage at rest in mV at ``z`` %, of the hysteresis as it is."""
        ecm = self.ecm
        soc = ecm.soc_bp
        at = self._table_at
        bp = z * 100
        while at > 0 and bp < soc[at]:
            at -= 1
        while at < len(soc) - 2 and bp >= soc[at + 1]:
            at += 1
        self._table_at = at
        w = (bp - soc[at]) / (soc[at + 1] - soc[at])
        v = 1 - w
        ocv = (v * ecm.ocv_dmv[at] + w * ecm.ocv_dmv[at + 1]) * 0.1
        w = min(1.0, max(0.0, w))
        v = 1 - w
        ocv += (v * ecm.thermal_uv_k[at] + w * ecm.thermal_uv_k[at + 1]) * warm
        if ecm.hysteresis_bp:
            self._half = (v * ecm.half_dmv[at] + w * ecm.half_dmv[at + 1]) * 0.1
            ocv += self._half * self.h
        return ocv

    def _resistances(self, dc: int) -> None:
        ecm = self.ecm
        knots = ecm.r_soc_bp
        at = self._r_at
        bp = min(knots[len(knots) - 1], max(knots[0], self.z * 100))
        while at > 0 and bp < knots[at]:
            at -= 1
        while at < len(knots) - 2 and bp >= knots[at + 1]:
            at += 1
        self._r_at = at
        w = (bp - knots[at]) / (knots[at + 1] - knots[at])
        warm = ecm.r_dc
        n = len(warm)
        k = self._t_at
        while k > 0 and dc < warm[k]:
            k -= 1
        while k < n - 2 and dc >= warm[k + 1]:
            k += 1
        self._t_at = k
        u = 0.0
        if n > 1:
            u = min(1.0, (dc - warm[k]) / (warm[k + 1] - warm[k]))
            u = max(-1.0, u)  # colder than the table: a straight line for one more span
        i = at * n + k
        scale = 1 / self.capacity_mah  # uohm Ah / mAh = mohm; the currents are in mA
        self._r0 = _at(ecm.r0, i, n, w, u) * scale
        self._r1 = _at(ecm.r1, i, n, w, u) * scale
        self._r2 = _at(ecm.r2, i, n, w, u) * scale


def _at(table: "array[int]", i: int, n: int, w: float, u: float) -> float:
    """Bilinear: ``w`` towards the next row, ``u`` towards the next column."""
    one = table[i] * (1 - w) + table[i + n] * w
    if n == 1:
        return one
    two = table[i + 1] * (1 - w) + table[i + n + 1] * w
    return one * (1 - u) + two * u
