"""A workshop's tester: a list of steps at a pack's terminals, of which it sees nothing else.

>>> [step.name for step in intake_program(rated_ah=50.0, n_cells=14, kind=parameters.NMC)]
['rest', 'charge', 'rest', 'discharge', 'rest', 'recharge', 'rest']
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.pack import OPEN, Demand

if TYPE_CHECKING:
    from sim.pack import Pack
    from sim.parameters import CellKind

_CUT_OFF_S = 5.0  # no current for so long though it is demanded: the pack has switched off
_CONNECT_S = 30.0  # a pack may need so long to switch on


@dataclass(frozen=True)
class Rest:
    """Terminals open."""

    duration_s: float
    name: str = "rest"


@dataclass(frozen=True)
class Charge:
    """Constant current to ``voltage_v``, which is then held until the current is ``taper_a``.

    Ends early when the pack switches off or ``most_s`` have passed.
    """

    current_a: float
    voltage_v: float
    taper_a: float
    most_s: float = 8 * 3600.0
    name: str = "charge"


@dataclass(frozen=True)
class Discharge:
    """Constant current until the terminals are at ``end_v`` or the pack switches off."""

    current_a: float
    end_v: float
    most_s: float = 8 * 3600.0
    name: str = "discharge"


Step = Rest | Charge | Discharge


def intake_program(rated_ah: float, n_cells: int, kind: CellKind) -> tuple[Step, ...]:
    """The intake of a used pack: full, empty, and back to a state fit for storing.

    Rest 10 min, charge 0.7C to C/20, rest 30 min, discharge 0.7C to empty, rest 45 min, recharge
    for 40 min, rest 20 min.
    """
    full_v = n_cells * kind.charge_v
    current_a = 0.7 * rated_ah
    taper_a = rated_ah / 20
    return (
        Rest(600.0),
        Charge(current_a, full_v, taper_a),
        Rest(1800.0),
        Discharge(current_a, n_cells * kind.discharge_v),
        Rest(2700.0),
        Charge(current_a, full_v, taper_a, most_s=2400.0, name="recharge"),
        Rest(1200.0),
    )


class Bench:
    """Walks a pack through ``steps``. Call ``update`` after each electrical step.

    A step waits while its pack is unplugged, and goes on when it is back.
    """

    def __init__(self, pack: Pack, steps: tuple[Step, ...]) -> None:
        self.pack = pack
        self.steps = steps
        self.index = -1
        self.log: list[tuple[float, str]] = []  # virtual time, what happened
        self._since_s = 0.0
        self._flowed = False
        self._silent_s = 0.0
        self._last_s = 0.0
        self._next(0.0, "start")

    @property
    def done(self) -> bool:
        """Whether all steps are through."""
        return self.index >= len(self.steps)

    def update(self, now_s: float) -> None:
        """See how the step stands at ``now_s``, and begin the next one when it is over."""
        dt_s, self._last_s = now_s - self._last_s, now_s
        if self.done:
            return
        if not self.pack.plugged:
            self._since_s += dt_s
            self._flowed = False
            self._silent_s = 0.0
            return
        step = self.steps[self.index]
        lasted_s = now_s - self._since_s
        if isinstance(step, Rest):
            if lasted_s >= step.duration_s:
                self._next(now_s, "time")
            return
        current_a = abs(self.pack.current_a)
        if current_a > 0:
            self._flowed = True
            self._silent_s = 0.0
        else:
            self._silent_s += dt_s
        why = self._end(step, current_a, lasted_s)
        if why:
            self._next(now_s, why)

    def _end(self, step: Charge | Discharge, current_a: float, lasted_s: float) -> str:
        pack = self.pack
        if lasted_s >= step.most_s:
            return "time"
        if self._silent_s >= (_CUT_OFF_S if self._flowed else _CONNECT_S):
            return "the pack switched off"
        if not self._flowed or not current_a:
            return ""
        if isinstance(step, Charge):
            tapered = current_a <= step.taper_a and pack.pack_v > 0.995 * step.voltage_v
            return "full" if tapered else ""
        return "empty" if pack.pack_v <= step.end_v else ""

    def _next(self, now_s: float, why: str) -> None:
        if self.index >= 0:
            self.log.append((now_s, f"{self.steps[self.index].name} ends: {why}"))
        self.index += 1
        self._since_s = now_s
        self._flowed = False
        self._silent_s = 0.0
        if self.done:
            self.pack.demand = OPEN
            self.pack.activity = "done"
            self.pack.finished = True
            return
        step = self.steps[self.index]
        self.pack.activity = step.name
        if isinstance(step, Charge):
            self.pack.demand = Demand(step.current_a, step.voltage_v)
        elif isinstance(step, Discharge):
            self.pack.demand = Demand(-step.current_a)
        else:
            self.pack.demand = OPEN
