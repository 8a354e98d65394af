"""What cells of one kind are truly like: half-cell potentials, resistances, heat.

Nothing here is shared with the cell profiles that the firmware carries. The rested voltage comes
from the two half cells, so that ageing moves the whole curve as it does in a real cell: lost
lithium slides the electrodes against each other (``aged_ocv``) instead of scaling a table.

Origin of the figures:

- Graphite-SiOx and NMC 811 half cells and their stoichiometry at 0 and 100 % (LG M50): C.-H. Chen
  et al., J. Electrochem. Soc. 167 (2020) 080534.
- Graphite half cell: M. Safari, C. Delacourt, J. Electrochem. Soc. 158 (2011) A562. LFP half
  cell: A. Afshar, arXiv:1709.03970 (2017). The stoichiometry window of the LFP cell is chosen so
  that it rests at 2.50 V empty and 3.35 V full.
- Resistances are those of large automotive cells (about 0.75 mohm for 94 Ah, data sheet), split
  over a series part and two RC links of some seconds (charge transfer) and some minutes
  (diffusion); the split is an assumption in the range that pulse tests of such cells show.
- Activation energies of 20 and 40 kJ/mol for the series part and the RC links: the usual range
  for electrolyte and charge transfer.
- Hysteresis of LFP: half the distance of the charge and discharge branches that are published for
  such cells at mid SOC, 40 mV, less the part that a slow test leaves as over-voltage.
- Heat: 22 J/K per Ah (about 2 kg and 1000 J/(kg K) for 94 Ah); exchange with air and neighbours is
  chosen for a closely packed module without fans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    HalfCell = Callable[[Array], Array]

SOC_GRID = np.linspace(-0.05, 1.05, 1101)
"""SOC at which ``aged_ocv`` gives the rested voltage; evenly spaced, past both ends."""


def graphite_siox_v(x: Array) -> Array:
    """Potential against lithium, V, of the LG M50's negative electrode at stoichiometry ``x``."""
    return (
        1.9793 * np.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * np.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * np.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * np.tanh(30.4444 * (x - 0.6103))
    )


def nmc811_v(y: Array) -> Array:
    """Potential against lithium, V, of the LG M50's positive electrode."""
    return (
        -0.8090 * y
        + 4.4875
        - 0.0428 * np.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * np.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * np.tanh(15.9308 * (y - 0.3120))
    )


def graphite_v(x: Array) -> Array:
    """Potential against lithium, V, of graphite at stoichiometry ``x``."""
    return (
        0.6379
        + 0.5416 * np.exp(-305.5309 * x)
        - 0.044 * np.tanh((x - 0.1958) / 0.1088)
        - 0.1978 * np.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * np.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * np.tanh((x - 0.5692) / 0.0875)
    )


def lfp_v(y: Array) -> Array:
    """Potential against lithium, V, of lithium iron phosphate at stoichiometry ``y``."""
    return 3.4077 - 0.020269 * y + 0.5 * np.exp(-150.0 * y) - 0.9 * np.exp(-30.0 * (1.0 - y))


@dataclass(frozen=True)
class CellKind:
    """One kind of cell. Resistances are for 1 Ah at 25 degC and mid SOC: divide by the capacity.

    ``x_empty`` .. ``y_full`` are the stoichiometries of a new cell at 0 and 100 %.
    """

    name: str
    negative: HalfCell
    positive: HalfCell
    x_empty: float
    x_full: float
    y_empty: float
    y_full: float
    charge_v: float  # end of charge, constant voltage
    discharge_v: float  # end of discharge under load
    r0_ohm_ah: float
    r1_ohm_ah: float
    r2_ohm_ah: float
    tau1_s: float
    tau2_s: float
    r0_activation_j_mol: float = 20e3
    rc_activation_j_mol: float = 40e3
    steady_share: float = 0.0  # of the series part: what warmth does not change
    hysteresis_v: float = 0.0  # half the distance of the branches
    hysteresis_rate: float = 25.0  # e-folds of the way to a branch per full capacity of charge
    self_discharge_per_month: float = 0.02
    heat_j_k_ah: float = 22.0
    cooling_w_k_ah: float = 0.012  # to the air, each cell
    neighbour_w_k_ah: float = 0.03  # between cells side by side

    def rested_v(self, soc: Array) -> Array:
        """Rested voltage of a new cell, V."""
        x = self.x_empty + soc * (self.x_full - self.x_empty)
        y = self.y_empty + soc * (self.y_full - self.y_empty)
        return self.positive(y) - self.negative(x)


NMC = CellKind(
    name="nmc",
    negative=graphite_siox_v,
    positive=nmc811_v,
    x_empty=0.0279,
    x_full=0.9014,
    y_empty=0.9084,
    y_full=0.2661,
    charge_v=4.2,
    discharge_v=2.8,
    r0_ohm_ah=0.070,
    r1_ohm_ah=0.030,
    r2_ohm_ah=0.040,
    tau1_s=6.0,
    tau2_s=400.0,
)

LFP = CellKind(
    name="lfp",
    negative=graphite_v,
    positive=lfp_v,
    x_empty=0.0118,
    x_full=0.8094,
    y_empty=0.9596,
    y_full=0.0199,
    charge_v=3.5,
    discharge_v=2.6,
    r0_ohm_ah=0.083,
    r1_ohm_ah=0.035,
    r2_ohm_ah=0.050,
    tau1_s=6.0,
    tau2_s=500.0,
    hysteresis_v=0.012,
    self_discharge_per_month=0.015,
)

KINDS = {kind.name: kind for kind in (NMC, LFP)}


def kind(name: str) -> CellKind:
    """The kind called ``name``; ``ValueError`` names those there are."""
    if name not in KINDS:
        raise ValueError(f'cell kind "{name}" is not known (known: {", ".join(KINDS)})')
    return KINDS[name]


def aged_ocv(kind: CellKind, soh: float, slip: float = 0.2, excess: float = 0.0) -> Array:
    """Rested voltage, V, over ``SOC_GRID`` of a cell with ``soh`` of its first capacity.

    The share ``slip`` of the loss is lithium alone, which shifts the electrodes against each
    other; for the rest both electrodes shrink alike, which leaves the curve as it is. ``excess``
    is by how much more negative electrode this cell was made with than the kind. The ends of
    the scale are where the aged cell reaches the rested voltages of the kind at 0 and 100 %.
    ``ValueError`` for an ``soh`` outside 0.3 .. 1.2.
    """
    if not 0.3 <= soh <= 1.2:
        raise ValueError(f"soh {soh} is outside 0.3 .. 1.2")
    empty_v, full_v = kind.rested_v(np.array([0.0, 1.0]))
    shrunk = 1.0 - (1.0 - soh) * (1.0 - slip)
    negative_ah = shrunk / (kind.x_full - kind.x_empty)  # of 1 Ah when new
    positive_ah = shrunk / (kind.y_empty - kind.y_full)
    lithium_ah = negative_ah * kind.x_full + positive_ah * kind.y_full
    negative_ah *= 1.0 + excess
    x = np.linspace(0.0, 1.0, 4001)
    negative_v = kind.negative(x)

    def window(lost_ah: float) -> tuple[float, float]:
        y = (lithium_ah - lost_ah - x * negative_ah) / positive_ah
        possible = (y > 0.0) & (y < 1.0)
        volts = np.maximum.accumulate(kind.positive(y[possible]) - negative_v[possible])
        low, high = np.interp((empty_v, full_v), volts, x[possible])
        return float(low), float(high)

    # The capacity falls with the lithium only near the solution: with far too much of it the
    # positive electrode would be full before the cell is empty.
    low_ah, high_ah = shrunk - soh - 0.05, 1.6 * (shrunk - soh) + 0.05
    for _ in range(40):
        lost_ah = (low_ah + high_ah) / 2
        first, last = window(lost_ah)
        if (last - first) * negative_ah > soh:
            low_ah = lost_ah
        else:
            high_ah = lost_ah
    x_at = first + SOC_GRID * (last - first)
    y_at = (lithium_ah - lost_ah - x_at * negative_ah) / positive_ah
    volts = kind.positive(y_at) - kind.negative(x_at)
    # Past the ends the half-cell functions are extrapolations; they must still rise.
    return np.maximum.accumulate(np.clip(volts, 0.0, 5.5))
