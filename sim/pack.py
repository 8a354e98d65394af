"""A pack: cells in series behind two switches, with a tester at its terminals.

Current flows only as the switches allow: an open charge switch stops charging and an open
discharge switch stops discharging, while the other direction still passes its body diode.

    >>> pack = ModelledPack(PackSpec("P1", n_cells=4), np.random.default_rng(1))
    >>> pack.demand = Demand(20.0, 4 * 4.2)
    >>> pack.step(1.0, charge_on=True, discharge_on=True)
    >>> pack.current_a
    20.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sim import parameters
from sim.afe import afe
from sim.cell import Cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.bench import Step
    from sim.parameters import Array
    from sim.replay import Recording

_DIODE_V = 0.7
_PATH_OHM = 0.0015  # shunt, switches and cables
_FET_OHM = 0.0006
_FET_K_W = 12.0
_FET_TAU_S = 40.0
MOST_STEP_S = 1.0


@dataclass(frozen=True)
class Demand:
    """What the tester does at the terminals.

    ``current_a`` > 0 charges with at most that current and at most ``voltage_v``; < 0 discharges
    with that current; 0 leaves the terminals open.
    """

    current_a: float = 0.0
    voltage_v: float = 0.0


OPEN = Demand()


@dataclass
class PackSpec:
    """A pack to be simulated, and the settings its board is given.

    ``soh`` is one figure for all cells or one each; ``resistance`` likewise (factor on a new
    cell; left out, it grows with the lost capacity). The spreads are standard deviations.
    ``profile`` is the cell profile the board assumes (the kind's own if left out), ``settings``
    what else stands in its settings file, ``program`` what the tester does. With a ``recording``
    its voltages are played instead of the model. ``afe`` names the chips on its board
    (``afe.AFES``); ``cells_per_chip`` spreads the cells over a chain of them otherwise than
    evenly.
    """

    serial: str
    kind: str = "nmc"
    n_cells: int = 14
    rated_ah: float = 50.0
    soc: float = 0.3
    soh: float | Sequence[float] = 1.0
    resistance: float | Sequence[float] | None = None
    soc_spread: float = 0.004
    soh_spread: float = 0.004
    resistance_spread: float = 0.02
    self_discharge: float = 1.0
    slip: float = 0.2
    ambient_c: float = 25.0
    address: int = 1
    baudrate: int = 115200
    shunt_uohm: int = 500
    profile: str | None = None
    record_every: int = 10
    settings: dict[str, Any] = field(default_factory=dict)
    program: Sequence[Step] = ()
    recording: Recording | None = None
    tcp_port: int | None = None
    afe: str = "bq76952"
    cells_per_chip: Sequence[int] | None = None
    terminals_uf: float = 0.0  # what hangs on them: an inverter's capacitors
    precharge_ohm: float = 50.0
    leak_ohm: float = math.inf  # beside the capacitors: a load that was left on

    def board_settings(self) -> dict[str, Any]:
        """What stands in the board's ``settings.json``."""
        chips: dict[str, Any] = {} if self.afe == "bq76952" else {"afe": self.afe}
        if self.cells_per_chip is not None:
            chips["chip_cells"] = list(self.cells_per_chip)
        return {
            "serial": self.serial,
            **chips,
            "n_cells": self.n_cells,
            "profile": self.profile or self.kind,
            "rated_mah": round(1000 * self.rated_ah),
            "address": self.address,
            "baudrate": self.baudrate,
            "shunt_uohm": self.shunt_uohm,
            "record_every": self.record_every,
            **self.settings,
        }


class Pack:
    """What a chip is connected to.

    ``step`` brings these to the new time:

    ``cell_v`` (n, V, lowest cell first), ``current_a`` (through the shunt, positive when
    charging), ``pack_v`` (between the terminals), ``temperatures_c`` (the board's thermistors at
    the cells), ``die_c`` and ``fet_c``.
    """

    def __init__(self, spec: PackSpec) -> None:
        self.spec = spec
        self.n_cells = spec.n_cells
        self.time_s = 0.0
        self.demand = OPEN
        self.cell_v: Array = np.zeros(spec.n_cells)
        self.current_a = 0.0
        self.pack_v = 0.0
        self._afe = afe(spec)
        self._sensors = self._afe.sensors(spec)
        self.temperatures_c: tuple[float, ...] = (spec.ambient_c,) * len(self._sensors)
        self.die_c = spec.ambient_c
        self.fet_c = spec.ambient_c
        self.activity = "idle"  # what the tester does, for people
        self.finished = False  # the tester has done all it was told
        self.plugged = True  # in its bay: the tester is at its terminals

    def step(
        self,
        dt_s: float,
        charge_on: bool,
        discharge_on: bool,
        balance_mask: int = 0,
        precharge_on: bool = False,
        predischarge_on: bool = False,
    ) -> None:
        """Advance by ``dt_s`` with the switches and bleeders as given."""
        raise NotImplementedError

    def truth(self) -> dict[str, Any]:
        """What no board knows; ``None`` for what is not known here either."""
        raise NotImplementedError

    def _warm_board(self, dt_s: float, ambient_c: float, balance_mask: int) -> None:
        self.die_c = ambient_c + 3.0 + self._afe.die_k_per_bled * balance_mask.bit_count()
        target_c = ambient_c + self.current_a**2 * _FET_OHM * _FET_K_W
        self.fet_c += (target_c - self.fet_c) * min(1.0, dt_s / _FET_TAU_S)


class ModelledPack(Pack):
    """Modelled cells; ``rng`` draws their spread."""

    def __init__(self, spec: PackSpec, rng: np.random.Generator) -> None:
        super().__init__(spec)
        n = spec.n_cells
        soh = np.broadcast_to(np.asarray(spec.soh, dtype=float), n)
        soh = soh * (1 + spec.soh_spread * rng.standard_normal(n))
        factor: Array = 1 + 1.5 * (1 - soh)
        if spec.resistance is not None:
            factor = np.broadcast_to(np.asarray(spec.resistance, dtype=float), n).copy()
        self.cells = Cells(
            parameters.kind(spec.kind),
            np.full(n, spec.rated_ah),
            soc=np.clip(spec.soc + spec.soc_spread * rng.standard_normal(n), 0.0, 1.0),
            soh=soh,
            resistance=factor * (1 + spec.resistance_spread * rng.standard_normal(n)),
            self_discharge=spec.self_discharge * rng.lognormal(0.0, 0.2, n),
            slip=spec.slip,
            temperature_c=spec.ambient_c,
        )
        self.cell_v = self.cells.voltage_v
        self.pack_v = float(self.cell_v.sum())
        self._terminals_v = 0.0

    def step(
        self,
        dt_s: float,
        charge_on: bool,
        discharge_on: bool,
        balance_mask: int = 0,
        precharge_on: bool = False,
        predischarge_on: bool = False,
    ) -> None:
        """Advance by ``dt_s``, in pieces of at most a second."""
        closed = (charge_on, discharge_on, precharge_on, predischarge_on)
        pieces = max(1, -int(-dt_s // MOST_STEP_S))
        for _ in range(pieces):
            self._piece(dt_s / pieces, closed, balance_mask)

    def _piece(
        self, dt_s: float, closed: tuple[bool, bool, bool, bool], balance_mask: int
    ) -> None:
        cells = self.cells
        self.current_a, self.pack_v = self._solve(*closed)
        _, discharge_on, _, predischarge_on = closed
        if self.spec.terminals_uf and not discharge_on and self.current_a == 0:
            self._charge_terminals(dt_s, predischarge_on)
        self._terminals_v = self.pack_v
        bleed_a = None
        if balance_mask:
            # Seventy-two cells do not fit into an integer of numpy.
            bleeding = np.array([balance_mask >> k & 1 for k in range(self.n_cells)])
            per_v = self._afe.bleed_duty / self._afe.bleed_ohm
            bleed_a = bleeding * cells.voltage_v * per_v
        cells.step(dt_s, self.current_a, bleed_a, self.spec.ambient_c)
        self.cell_v = cells.voltage_v
        self.time_s += dt_s
        heat = cells.temperature_c.tolist()
        self.temperatures_c = tuple([heat[k] for k in self._sensors])
        self._warm_board(dt_s, self.spec.ambient_c, balance_mask)

    def _solve(
        self, charge_on: bool, discharge_on: bool, precharge_on: bool, predischarge_on: bool
    ) -> tuple[float, float]:
        """Current and terminal voltage that the demand and the switches lead to."""
        wanted = self.demand if self.plugged else OPEN
        emf_v = float(np.add.reduce(self.cells.emf_v()))
        ohm = float(np.add.reduce(self.cells.r0_ohm)) + _PATH_OHM
        if wanted.current_a > 0:
            if not charge_on:
                if not precharge_on:
                    return 0.0, wanted.voltage_v
                ohm += self.spec.precharge_ohm
            back_v = emf_v if discharge_on else emf_v + _DIODE_V
            current_a = max(0.0, min(wanted.current_a, (wanted.voltage_v - back_v) / ohm))
            return current_a, (back_v + current_a * ohm if current_a else wanted.voltage_v)
        current_a = wanted.current_a
        open_v = emf_v if charge_on or not current_a else emf_v - _DIODE_V
        if not discharge_on:
            if not predischarge_on:
                return 0.0, 0.0
            ohm += self.spec.precharge_ohm
            current_a = max(current_a, -open_v / ohm)  # a load cannot draw more
        return current_a, max(0.0, open_v + current_a * ohm)

    def _charge_terminals(self, dt_s: float, predischarge_on: bool) -> None:
        """The capacitors' voltage, through the resistor where that is on, past the leak."""
        spec = self.spec
        in_s = 1 / spec.precharge_ohm if predischarge_on else 0.0
        out_s = 1 / spec.leak_ohm
        if in_s or out_s:
            end_v = float(self.cells.emf_v().sum()) * in_s / (in_s + out_s)
            left = math.exp(-dt_s * (in_s + out_s) / (spec.terminals_uf * 1e-6))
            self.pack_v = end_v + (self._terminals_v - end_v) * left
        else:
            self.pack_v = self._terminals_v

    def truth(self) -> dict[str, Any]:
        """The model's state.

        ``soc`` and ``soh`` are fractions of the pack: what its weakest cells leave usable, hence
        the charge that can still be taken out over the whole that can be moved. Lists have one
        figure a cell, lowest cell first.
        """
        cells = self.cells
        left_ah = float((cells.soc * cells.capacity_ah).min())
        room_ah = float(((1 - cells.soc) * cells.capacity_ah).min())
        return {
            "serial": self.spec.serial,
            "time_s": self.time_s,
            "soc": left_ah / (left_ah + room_ah),
            "soh": (left_ah + room_ah) / self.spec.rated_ah,
            "capacity_ah": left_ah + room_ah,
            "cell_soc": cells.soc.tolist(),
            "cell_soh": cells.soh.tolist(),
            "cell_capacity_ah": cells.capacity_ah.tolist(),
            "cell_v": cells.voltage_v.tolist(),
            "cell_ocv_v": cells.ocv_v.tolist(),
            "cell_resistance_ohm": cells.resistance_ohm().tolist(),
            "cell_temperature_c": cells.temperature_c.tolist(),
            "voltage_v": float(cells.voltage_v.sum()),
            "pack_v": self.pack_v,
            "current_a": self.current_a,
            "activity": self.activity,
            "finished": self.finished,
        }
