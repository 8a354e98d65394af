"""The cells of one pack, side by side in arrays: voltage, charge, heat.

What it computes for each cell (all arrays of ``n``; current ``i`` in A, positive when charging)::

    v     = ocv(soc) + M h + v1 + v2 + i r0(soc, T)
    soc'  = (i - i_bleed - i_self) / capacity
    v1'   = (i r1(T) - v1) / tau1            and the same for v2
    h'    = rate |i| / capacity (sign(i) - h)         hysteresis, -1 .. 1
    C T'  = i (v - ocv) + exchange with air and neighbours

RC links and hysteresis advance by their exact solution for constant current, so a long step stays
stable; SOC and heat by Euler. Entropy's heat is left out.

Sources: two-RC model and one-state hysteresis: G. L. Plett, J. Power Sources 134 (2004) 262.

    >>> cells = Cells(parameters.NMC, np.full(3, 50.0), soc=np.full(3, 0.5))
    >>> cells.step(1.0, -10.0)
    >>> bool(cells.voltage_v[0] < cells.ocv_v[0])
    True
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from sim import parameters

if TYPE_CHECKING:
    from sim.parameters import Array, CellKind

_GAS_J_MOL_K = 8.314
_REFERENCE_K = 298.15
_MONTH_S = 30 * 86400.0
_RESISTANCE_EVERY_S = 10.0  # resistance follows SOC and temperature slowly
_GRID_STEP = float(parameters.SOC_GRID[1] - parameters.SOC_GRID[0])
_GRID_START = float(parameters.SOC_GRID[0])
_LAST = len(parameters.SOC_GRID) - 2


class Cells:
    """``n`` cells in series.

    ``rated_ah`` (n), ``soc`` (n, 0..1), ``soh`` (n, capacity over rated), ``resistance`` (n,
    factor on that of a new cell), ``self_discharge`` (n, factor), temperatures in degC. ``slip``
    and ``excess`` shape the rested voltage of all cells or of each (``parameters.aged_ocv``).
    """

    def __init__(
        self,
        kind: CellKind,
        rated_ah: Array,
        soc: Array,
        soh: Array | None = None,
        resistance: Array | None = None,
        self_discharge: Array | None = None,
        slip: float | Array = 0.2,
        temperature_c: float = 25.0,
        excess: float | Array = 0.0,
    ) -> None:
        ones = np.ones(len(rated_ah))
        self.kind = kind
        self.n = len(rated_ah)
        self.rated_ah = rated_ah
        self.soh = ones if soh is None else soh
        self.resistance = ones if resistance is None else resistance
        self.capacity_ah = rated_ah * self.soh
        self.soc = soc.astype(float)
        self.hysteresis = 0.0 * ones
        self.temperature_c = temperature_c * ones
        self.heat_j = 0.0 * ones  # made by the cells since the start
        share = ones if self_discharge is None else self_discharge
        self._self_a = self.capacity_ah * kind.self_discharge_per_month * share * 3600 / _MONTH_S
        self._ocv = np.stack(
            [
                parameters.aged_ocv(kind, float(soh), float(each_slip), float(each_excess))
                for soh, each_slip, each_excess in zip(
                    self.soh, slip * ones, excess * ones, strict=True
                )
            ]
        )
        self._row = np.arange(self.n) * self._ocv.shape[1]
        self._ocv_flat = self._ocv.ravel()
        self._per_soc = 1 / (3600.0 * self.capacity_ah)
        self._decay: tuple[float, float, float] = (-1.0, 0.0, 0.0)
        self._resistance_age_s = 0.0
        self._exchange_w_k = kind.neighbour_w_k_ah * float(np.mean(rated_ah))
        self.settle()

    def settle(self) -> None:
        """Be at rest for long, at the charge, warmth and hysteresis of now."""
        self.v1_v = np.zeros(self.n)
        self.v2_v = np.zeros(self.n)
        self._refresh_resistance()
        self.ocv_v = self._lookup()
        self.voltage_v = self.emf_v()

    def _lookup(self) -> Array:
        place = (self.soc - _GRID_START) / _GRID_STEP
        index = np.minimum(np.maximum(place, 0.0), _LAST).astype(np.int64)
        share = np.minimum(np.maximum(place - index, 0.0), 1.0)
        index += self._row
        low = self._ocv_flat.take(index)
        return low + share * (self._ocv_flat.take(index + 1) - low)

    def _refresh_resistance(self) -> None:
        """Arrhenius in temperature; a few tens of percent more when nearly empty."""
        kind = self.kind
        inverse_k = (1 / (self.temperature_c + 273.15) - 1 / _REFERENCE_K) / _GAS_J_MOL_K
        base = (
            self.resistance / self.rated_ah * (1 + 0.8 * np.exp(-self.soc.clip(0.0, 1.0) / 0.07))
        )
        links = base * np.exp(kind.rc_activation_j_mol * inverse_k)
        steady = kind.steady_share
        series = steady + (1.0 - steady) * np.exp(kind.r0_activation_j_mol * inverse_k)
        self.r0_ohm = kind.r0_ohm_ah * base * series
        self.r1_ohm = kind.r1_ohm_ah * links
        self.r2_ohm = kind.r2_ohm_ah * links
        self._resistance_age_s = 0.0

    def resistance_ohm(self, after_s: float = 1.0) -> Array:
        """Voltage answer to a current step after ``after_s``, per ampere, as the cells are now."""
        kind = self.kind
        return (
            self.r0_ohm
            + self.r1_ohm * (1 - math.exp(-after_s / kind.tau1_s))
            + self.r2_ohm * (1 - math.exp(-after_s / kind.tau2_s))
        )

    def emf_v(self) -> Array:
        """Voltage that remains this instant when the current stops."""
        return self.ocv_v + self.kind.hysteresis_v * self.hysteresis + self.v1_v + self.v2_v

    def step(
        self,
        dt_s: float,
        current_a: float,
        bleed_a: Array | None = None,
        ambient_c: float = 25.0,
    ) -> None:
        """Advance by ``dt_s`` (at most some seconds) at constant current."""
        kind = self.kind
        if self._decay[0] != dt_s:
            self._decay = (dt_s, math.exp(-dt_s / kind.tau1_s), math.exp(-dt_s / kind.tau2_s))
        _, keep1, keep2 = self._decay
        self._resistance_age_s += dt_s
        if self._resistance_age_s >= _RESISTANCE_EVERY_S:
            self._refresh_resistance()
        current = (current_a if bleed_a is None else current_a - bleed_a) * np.ones(self.n)
        drift = (current - self._self_a) * dt_s * self._per_soc
        self.soc += drift
        self.v1_v = keep1 * self.v1_v + (1 - keep1) * self.r1_ohm * current
        self.v2_v = keep2 * self.v2_v + (1 - keep2) * self.r2_ohm * current
        if kind.hysteresis_v:
            stay = np.exp(-kind.hysteresis_rate * np.abs(drift))
            self.hysteresis = stay * self.hysteresis + (1 - stay) * np.sign(drift)
        self.ocv_v = self._lookup()
        self.voltage_v = self.emf_v() + self.r0_ohm * current
        self._warm(dt_s, current * (self.voltage_v - self.ocv_v), ambient_c)

    def steps(self, dt_s: float, current_a: Array, ambient_c: float = 25.0) -> Array:
        """Advance by some seconds in steps of ``dt_s`` and give the voltages after each, (k, n).

        ``current_a`` (k) are currents of one sign, or all 0. Resistance and warmth stay for the
        while what they are at its start; in all else this is ``step`` k times, and much faster.
        """
        kind = self.kind
        k = len(current_a)
        if self._resistance_age_s >= _RESISTANCE_EVERY_S:
            self._refresh_resistance()
        self._resistance_age_s += k * dt_s
        current = np.asarray(current_a)[:, np.newaxis]
        drift = ((current - self._self_a) * (dt_s * self._per_soc)).cumsum(axis=0)
        self.soc = self.soc + drift
        self.v1_v = _link(self.v1_v, self.r1_ohm, current, dt_s, kind.tau1_s)
        self.v2_v = _link(self.v2_v, self.r2_ohm, current, dt_s, kind.tau2_s)
        if kind.hysteresis_v:
            branch = np.sign(drift[-1])
            stay = np.exp(-kind.hysteresis_rate * np.abs(drift))
            self.hysteresis = branch + stay * (self.hysteresis - branch)
        self.ocv_v = self._lookup()
        voltage_v = self.emf_v() + self.r0_ohm * current
        heat_w = (current * (voltage_v - self.ocv_v)).mean(axis=0)
        self._warm(k * dt_s, heat_w, ambient_c)
        self.soc, self.v1_v, self.v2_v = self.soc[-1], self.v1_v[-1], self.v2_v[-1]
        if kind.hysteresis_v:
            self.hysteresis = self.hysteresis[-1]
        self.ocv_v, self.voltage_v = self.ocv_v[-1], voltage_v[-1]
        return voltage_v

    def _warm(self, dt_s: float, heat_w: Array, ambient_c: float) -> None:
        kind = self.kind
        self.heat_j += heat_w * dt_s
        temperature = self.temperature_c
        flow_w = kind.cooling_w_k_ah * self.rated_ah * (ambient_c - temperature)
        if self.n > 1:
            across_w = self._exchange_w_k * (temperature[1:] - temperature[:-1])
            flow_w[:-1] += across_w
            flow_w[1:] -= across_w
        self.temperature_c = temperature + (heat_w + flow_w) * dt_s / (
            kind.heat_j_k_ah * self.rated_ah
        )


def _link(volts: Array, ohm: Array, current_a: Array, dt_s: float, tau_s: float) -> Array:
    """Voltages (k, n) of RC links after each of k steps of ``dt_s`` with ``current_a`` (k, 1)."""
    age, lower = _since(len(current_a))
    keep = math.exp(-dt_s / tau_s)
    answer = (lower * keep**age) @ current_a * (1 - keep)
    return volts * keep ** (age[:, :1] + 1) + answer * ohm


@functools.cache
def _since(k: int) -> tuple[Array, Array]:
    """By how many steps each of ``k`` (rows) is later than each (columns), and whether it is."""
    age = np.arange(k)[:, np.newaxis] - np.arange(k)
    return np.maximum(age, 0), (age >= 0).astype(float)
