"""Streams of snapshots of a small pack that is cycled and fades, as the chip reads it.

The simulator's cells, four in series, seeded; 1 mV, 1 mA, charge in whole micro-ampere-hours,
noise of 0.3 mV, a current sensor with an offset and a gain of its own. Steps are of one second
around each change of the current, of ten where a charge or discharge ends, and of ``COARSE_S``
else. ``scripts/estimators_stream.py`` reads them.
"""

import dataclasses
import struct
from pathlib import Path

import numpy as np

from common.codes import Switch
from common.profiles import profile
from sim import parameters
from sim.cell import Cells

N_CELLS = 4
COARSE_S = 60
LAYOUT = "<HiihhBBHHHH"  # ms, mA, uAh, coldest and hottest 0.1 degC, switches, what to print, mV
SOC = 1
HEALTH = 2
CLOSED = int(Switch.CHARGE | Switch.DISCHARGE)
FADE = 0.2  # of the capacity, over a thousand cycles
TRICKLE_MA = -5.0
EVERY = 16  # snapshots between two that ask for the SOC

RATED_MAH = {"nmc": 2500, "lfp": 3000, "lco-cs2": 1100, "nca": 2900}
_OFFSET_MA = 3.0
_GAIN = 1.002
_STEEP_V = 8.0  # per capacity, past full and empty


def _kind(name: str) -> parameters.CellKind:
    """The simulator's NMC, or a kind that rests where the profile's table says, steep past it.

    The upper half of the voltage is the positive electrode's, the lower half the negative's.
    """
    if name == "nmc":
        return parameters.NMC
    p = profile(name)
    soc, ocv_v = np.array(p.soc_bp) / 10000, np.array(p.ocv_mv) / 1000
    middle_v = float(np.interp(0.5, soc, ocv_v))

    def rested_v(z):
        return np.interp(z, soc, ocv_v) + _STEEP_V * (np.maximum(z - 1, 0) + np.minimum(z, 0))

    return dataclasses.replace(
        parameters.KINDS.get(name, parameters.NMC),
        name=name,
        negative=lambda x: middle_v - np.minimum(rested_v((x - 0.1) / 0.8), middle_v),
        positive=lambda y: np.maximum(rested_v((0.9 - y) / 0.8), middle_v),
        x_empty=0.1,
        x_full=0.9,
        y_empty=0.9,
        y_full=0.1,
    )


class Stream:
    """One pack and the file its snapshots go to."""

    def __init__(self, name: str, path: Path, seed: int = 1) -> None:
        self.name = name
        self.kind = _kind(name)
        self.rated_ah = RATED_MAH[name] / 1000
        self.chance = np.random.default_rng(seed)
        self.first_soh = np.array([0.96, 0.94, 0.91, 0.95])
        self.cells = self._make(0.0, np.full(N_CELLS, 0.4))
        self.full_v = profile(name).cell_full_mv / 1000
        self.empty_v = profile(name).cell_empty_mv / 1000
        self.uah = 0.0
        self.written = 0
        self.file = path.open("wb")

    def _make(self, fade: float, soc: np.ndarray) -> Cells:
        rated = np.full(N_CELLS, self.rated_ah)
        soh = self.first_soh - fade
        resistance = np.full(N_CELLS, 1 + 3 * fade)
        return Cells(self.kind, rated, soc, soh, resistance, slip=0.1)

    def age(self, cycle: int) -> None:
        """The cells as they are in ``cycle``; what they hold stays."""
        held = self.cells.soc * self.cells.capacity_ah
        fade = FADE * cycle / 1000
        self.cells = self._make(fade, held / (self.rated_ah * (self.first_soh - fade)))

    def step(self, current_a: float, seconds: int, switches: int = CLOSED, what: int = 0) -> None:
        """Move the cells, write what the chip reads."""
        cells = self.cells
        cells.step(float(seconds), current_a)
        seen_ma = current_a * 1000 * _GAIN + _OFFSET_MA
        self.uah += seen_ma * seconds / 3.6
        passed = round(self.uah)
        self.uah -= passed
        mv = np.rint(cells.voltage_v * 1000 + self.chance.normal(0, 0.3, N_CELLS)).astype(int)
        coldest, hottest = cells.temperature_c.min(), cells.temperature_c.max()
        self.written += 1
        if self.written % EVERY == 0:
            what |= SOC
        self.file.write(
            struct.pack(
                LAYOUT,
                seconds * 1000,
                round(seen_ma),
                passed,
                round(coldest * 10),
                round(hottest * 10),
                switches,
                what,
                *mv.tolist(),
            )
        )

    def steady(self, current_a: float, seconds: int, switches: int = CLOSED) -> None:
        """A current that holds for a time; its beginning is looked at closely."""
        first = min(8, seconds)
        for _ in range(first):
            self.step(current_a, 1, switches)
        left = seconds - first
        while left > 0:
            size = min(COARSE_S, left)
            self.step(current_a, size, switches)
            left -= size

    def charge(self, rate: float, taper: float = 0.04) -> None:
        """Constant current, then the highest cell held at full voltage."""
        current_a = rate * self.rated_ah
        self.steady(current_a, 8)
        while current_a > taper * self.rated_ah:
            near = self.cells.voltage_v.max() > self.full_v - 0.05
            self.step(current_a, 10 if near else COARSE_S)
            assert self.cells.soc.max() < 1.1, "a cell that does not get full"
            over_v = self.cells.voltage_v.max() - self.full_v
            if over_v > 0:
                current_a *= max(0.85, 1 - 20 * over_v)

    def discharge(self, rate: float, to_soc: float) -> None:
        """To the first empty cell or ``to_soc``; now and then the current halves for a while."""
        current_a = -rate * self.rated_ah
        ran_s = 0
        self.steady(current_a, 8)
        while self.cells.voltage_v.min() > self.empty_v and self.cells.soc.min() > to_soc:
            near = self.cells.voltage_v.min() < self.empty_v + 0.15
            size = 10 if near else COARSE_S
            self.step(current_a, size)
            ran_s += size
            if ran_s >= 1500 and not near:
                ran_s = 0
                for share in (1.0, 0.5, 1.0):
                    for _ in range(6):
                        self.step(share * current_a, 1)

    def cycles(self, count: int, of: int) -> None:
        """``count`` cycles, in which the cells fade as in ``of``; every fifth is a partial one."""
        for cycle in range(count):
            if cycle % 10 == 0:
                self.age(cycle * of // count)
            self.steady(0.0, 1800, 0)
            self.charge(0.5)
            self.steady(0.0, 1800)
            part = float(self.chance.uniform(0.2, 0.6)) if cycle % 5 == 3 else 0.0
            self.discharge(float(self.chance.choice([0.5, 0.7, 1.0])), part)
            self.step(0.0, 1, what=SOC | HEALTH)

    def trickle(self, seconds: int, step_s: int) -> None:
        """A full charge, two hours of rest, then 5 mA out as the chip reads it."""
        self.charge(0.5)
        self.steady(0.0, 7200)
        current_a = (TRICKLE_MA - _OFFSET_MA) / 1000 / _GAIN
        for _ in range(seconds // step_s):
            self.step(current_a, step_s)


def cycling(path: Path, name: str, cycles: int, of: int = 1000) -> int:
    """Write ``cycles`` cycles, which stand for ``of``; how many snapshots."""
    stream = Stream(name, path)
    with stream.file:
        stream.cycles(cycles, of)
    return stream.written


def trickle(path: Path, name: str, seconds: int, step_s: int) -> int:
    """Write a full charge and ``seconds`` at ``TRICKLE_MA``; how many snapshots."""
    stream = Stream(name, path)
    with stream.file:
        stream.trickle(seconds, step_s)
    return stream.written


def passed_uah(path: Path) -> int:
    """The charge of a whole stream."""
    return sum(values[2] for values in struct.iter_unpack(LAYOUT, path.read_bytes()))
