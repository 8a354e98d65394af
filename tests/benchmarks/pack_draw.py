"""Draws a used pack, the chip that watches it, and what is done with it, all at random.

What is drawn, per pack (U uniform, N normal; by cell where it says so):

- chemistry NMC or LFP, 3..8 cells, 20..200 Ah (log-uniform), mean SOH U(0.55, 1.02) with a spread
  between cells of N(0, U(0, 3 %)); SOC at the start U(5, 95 %), cells apart by N(0, U(0, 2 %));
- ageing: the share of the loss that is lithium alone (``slip``) U(0, 0.5), cells apart by 0.03;
  the negative electrode's excess N(0, 3 %) with 0.5 % between cells;
- resistance: grows by U(0.5, 3) times the lost capacity, factor lognormal 15 % (4 % by cell); at
  10 degC the series part is higher by U(15, 70) %, by an Arrhenius term of U(60, 100) kJ/mol that
  leaves 2..10 % less at 40 degC: what the cells measured at 10..40 degC show
  (``firmware/estimators/resistance.py``); slow link U(0.6, 1.6) of the kind's, U(200, 1200) s;
- the maker: the simulator's half cells are those of the firmware's tables, which no pack need be
  made of. LFP rests U(-10, 25) mV higher (``common/cells/lfp.py`` has what is recorded); NMC at
  mid charge U(-20, 20) mV off, less towards the ends (rms 8 mV; the table states 9, and recorded
  kinds of other layered oxides are 30 to 90 mV off);
- hysteresis, half the distance of the branches: LFP U(8, 24) mV (17 to 28 were recorded of the one
  cell whose branches are known), NMC U(0, 5) mV; self-discharge lognormal;
- the air 5..40 degC, the same all day;
- the chip: cell voltages off by U(-5, 5) mV together and U(-2, 2) mV each, noise 0.5 mV, steps of
  1 mV; gain of the current U(-0.5, 0.5) %, offset U(-1, 1) C/1000; thermistors off by U(-1, 1) K,
  and U(0, 30) % of the way between cell and air;
- use: parts in random order until six hours have passed. ``intake`` charges to full, discharges
  to empty or a stop point; ``swing`` moves 37..90 % with rests at both ends; ``day`` is a
  noisy load with pauses and a partial charge. Rests are 5 min to 3 h, currents 0.2..0.8 C.
  Chargers hold the pack's voltage or the highest cell's, and end at C/20..C/40 or, in one pack of
  five, early; half of the LFP packs are never charged full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sim import parameters
from sim.cell import Cells


@dataclass
class Chip:
    """Errors of one board, drawn once."""

    cell_offset_v: np.ndarray
    current_gain: float
    current_offset_a: float
    sensor_offset_c: np.ndarray
    sensor_lag: float  # share of the way from the cell to the air that a thermistor reads


@dataclass
class Step:
    """One thing done: ``what`` is rest, charge, discharge or load.

    ``current_a`` is its size, ``share`` of the rated charge ends it, and so does ``most_s``.
    """

    what: str
    current_a: float = 0.0
    share: float = 2.0
    most_s: float = 9 * 3600.0


@dataclass
class Draw:
    """One pack with its chip and its day."""

    kind: parameters.CellKind
    n_cells: int
    rated_ah: float
    cells: Cells
    chip: Chip
    ambient_c: float
    charge_v: float
    taper_a: float
    by_cell: bool  # the charger watches the highest cell, not the pack
    steps: list[Step]


def draw_pack(rng: np.random.Generator, hours: float = 6.0) -> Draw:
    """A pack that is in use for about ``hours``."""
    name = ("nmc", "lfp")[rng.integers(2)]
    n = int(rng.integers(3, 9))
    rated_ah = float(np.round(20 * 10 ** rng.uniform(0, 1), 1))
    kind = _kind(rng, name)
    ambient_c = rng.uniform(5, 40)
    soh = rng.uniform(0.55, 1.02) + rng.uniform(0, 0.03) * rng.standard_normal(n)
    soh = soh.clip(0.45, 1.08)
    growth = 1 + rng.uniform(0.5, 3) * (1 - soh).clip(0)
    resistance = growth * rng.lognormal(0, 0.15) * rng.lognormal(0, 0.04, n)
    soc = rng.uniform(0.05, 0.95) + rng.uniform(0, 0.02) * rng.standard_normal(n)
    cells = Cells(
        kind,
        np.full(n, rated_ah),
        soc=soc.clip(0.02, 0.99),
        soh=soh,
        resistance=resistance,
        self_discharge=rng.lognormal(0, 0.5) * rng.lognormal(0, 0.2, n),
        slip=(rng.uniform(0, 0.5) + 0.03 * rng.standard_normal(n)).clip(0, 0.55),
        excess=0.03 * rng.standard_normal() + 0.005 * rng.standard_normal(n),
        temperature_c=ambient_c,
    )
    cells.hysteresis = np.full(n, rng.uniform(-1, 1))
    cells.settle()
    full_v = kind.charge_v if name == "nmc" else rng.uniform(3.5, 3.65)
    taper_a = rated_ah / (rng.uniform(20, 40) if rng.random() < 0.8 else rng.uniform(6, 15))
    return Draw(
        kind,
        n,
        rated_ah,
        cells,
        _chip(rng, n, rated_ah),
        ambient_c,
        full_v,
        taper_a,
        bool(rng.random() < 0.5),
        _use(rng, name, rated_ah, float(np.mean(soh)), hours),
    )


def _kind(rng: np.random.Generator, name: str) -> parameters.CellKind:
    kind = parameters.kind(name)
    activation_j_mol = 1e3 * rng.uniform(60, 100)
    at_10 = np.exp(activation_j_mol / 8.314 * (1 / 283.15 - 1 / 298.15))
    off_v = rng.uniform(-0.01, 0.025) if name == "lfp" else rng.uniform(-0.02, 0.02)
    return replace(
        kind,
        positive=partial(_of_a_maker, kind, off_v),
        steady_share=1 - rng.uniform(0.15, 0.7) / (at_10 - 1),
        r0_activation_j_mol=activation_j_mol,
        rc_activation_j_mol=1e3 * rng.uniform(30, 50),
        r2_ohm_ah=kind.r2_ohm_ah * rng.uniform(0.6, 1.6),
        tau1_s=rng.uniform(3, 15),
        tau2_s=rng.uniform(200, 1200),
        hysteresis_v=rng.uniform(0.008, 0.024) if name == "lfp" else rng.uniform(0, 0.005),
        hysteresis_rate=rng.uniform(15, 40),
    )


def _of_a_maker(kind: parameters.CellKind, off_v: float, y: np.ndarray) -> np.ndarray:
    """Positive electrode's potential: all of it off, or its middle where the ends are fixed."""
    if kind.name == "lfp":
        return kind.positive(y) + off_v
    part = ((y - kind.y_full) / (kind.y_empty - kind.y_full)).clip(0, 1)
    return kind.positive(y) + off_v * 4 * part * (1 - part)


def _chip(rng: np.random.Generator, n: int, rated_ah: float) -> Chip:
    return Chip(
        cell_offset_v=1e-3 * (rng.uniform(-5, 5) + rng.uniform(-2, 2, n)),
        current_gain=1 + rng.uniform(-0.005, 0.005),
        current_offset_a=rated_ah / 1000 * rng.uniform(-1, 1),
        sensor_offset_c=rng.uniform(-1, 1, 3),
        sensor_lag=rng.uniform(0, 0.3),
    )


def _use(
    rng: np.random.Generator, name: str, rated_ah: float, soh: float, hours: float
) -> list[Step]:
    """Parts until about ``hours`` have passed; half of the LFP packs are never charged full."""
    never_full = name == "lfp" and rng.random() < 0.5
    steps = [_rest(rng)]
    if rng.random() < 0.5:  # it was in use when the board was put on
        steps.insert(0, Step("load", rated_ah * rng.uniform(0.2, 0.5), most_s=1200))
    lasted_s = 0.0
    while lasted_s < hours * 3600:
        a = rated_ah * rng.uniform(0.2, 0.8)
        b = rated_ah * rng.uniform(0.2, 0.8)
        what = rng.choice(["intake", "swing", "day"])
        if what == "intake" and not never_full:
            stop = 2.0 if rng.random() < 0.6 else soh * rng.uniform(0.37, 0.95)
            part = [Step("charge", a), _rest(rng), Step("discharge", b, stop), _rest(rng)]
        elif what == "day":
            part = [
                Step("load", a, most_s=rng.uniform(1800, 7200)),
                _rest(rng),
                Step("charge", b, soh * rng.uniform(0.1, 0.6)),
                _rest(rng),
            ]
        else:
            depth = soh * rng.uniform(0.37, 0.9)
            first, second = ("charge", "discharge")[:: int(rng.choice([-1, 1]))]
            part = [Step(first, a, depth), _rest(rng), Step(second, b, depth), _rest(rng)]
            if never_full:
                part = [Step("discharge", a, depth), _rest(rng)]
                part += [Step("charge", b, depth * rng.uniform(0.5, 0.95)), _rest(rng)]
        steps += part
        lasted_s += sum(min(step.most_s, 3600.0) for step in part)
    return steps


def _rest(rng: np.random.Generator) -> Step:
    return Step("rest", most_s=float(300 * 36 ** rng.uniform(0, 1)))
