"""Fits the table of rested voltage to whatever of it was recorded.

* **Branches.** Where the slow charge and the slow discharge are given, their middle.
* **Cycles.** A full charge and the full discharge after it, each on its own charge from 0 to 1.
  With their currents ``Ic``, ``Id`` at a state of charge, the voltage at no current is

      OCV = (Vc |Id| + Vd Ic) / (Ic + |Id|)

  which is right where both see the same resistance. The slowest pairs count. The table is made
  of each cell's early ones; all, down to 60 % of rated, say how far it lies from aged cells.
* **Rests.** Voltages after a rest at known charge (pulse tests), on the cells' own capacity. They
  are taken less half the hysteresis of the base profile's circuit, as they follow a charge.
  Beyond the charges that enough cells were seen at the base table is used, moved so that it
  meets; twice its error and half the move count there.
* **One branch.** Charge curves alone, less the voltage over half the base profile's resistance
  at their current, give or take that much.

``sigma`` is one standard deviation of the whole table, 5-95 % of charge.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.ecm import Ecm
from common.profiles import GRID_BP, CellProfile
from firmware.tools.datasets import DataError

Array = NDArray[np.float64]

GRID = np.array(GRID_BP) / 1e4
LEAST_SIGMA_MV = 10
_FINE = np.linspace(0, 1, 201)
_INNER = (_FINE >= 0.05) & (_FINE <= 0.95)
_ON = 0.003  # of the rating: a smaller current is none
_FULL = 0.5  # of the rating: less charge is no full cycle
_MATCH = 0.05  # by which charge and discharge of a pair may differ
_SLOWEST = 1.5  # times the lowest rate of all pairs: faster ones are left out
_EARLY = 0.97  # of a cell's highest capacity: until then it is new
_WORN = 0.6  # of rated: below, a cell teaches nothing about one of use
_SMOOTH = 3e-3
_SEEN_BY = 8  # cells, or all, must reach a charge for the table to be fitted there
_OTHER = 2.0  # times its error: a table made of another kind of cell


@dataclass(frozen=True)
class Ocv:
    """A table on ``GRID_BP``, its error, and in words what it was made of."""

    mv: tuple[int, ...]
    sigma_mv: int
    made_of: str


def fit_ocv(folder: str | Path, base: CellProfile) -> Ocv:
    """The table from the recordings in ``folder``; ``DataError`` where they tell none."""
    files = read_all(folder)
    for z in files:
        if "ocv_charge_v" in z:
            return _branches(z)
    if any("u_v" in z for z in files):
        return _rests([z for z in files if "u_v" in z], base)
    pairs = [pair for z in files for pair in _pairs(z)]
    if pairs:
        return _cycles(pairs)
    if any(_curves(z) for z in files):
        return _one_branch([z for z in files if _curves(z)], base)
    raise DataError(f"{folder}: no branches, full cycles or rests that tell the rested voltage")


def of_circuit(ecm: Ecm, sigma_mv: int) -> Ocv:
    """The table a circuit was fitted with."""
    dmv = np.interp(GRID_BP, ecm.soc_bp, ecm.ocv_dmv)
    return _table(GRID, dmv / 10, sigma_mv, "the circuit's own open-circuit voltage")


def read_all(path: str | Path) -> list[dict[str, Any]]:
    """The arrays of all recordings in a folder, or of one file; ``DataError`` where none is."""
    one = Path(path)
    names = [one] if one.is_file() else sorted(one.glob("*.npz"))
    if not names:
        raise DataError(f"{path}: holds no .npz file (name a folder of recorded cells)")
    found = []
    for name in names:
        try:
            with np.load(name, allow_pickle=False) as data:
                found.append({key: data[key] for key in data.files})
        except (OSError, ValueError) as error:
            raise DataError(f"{name}: cannot be read ({error})") from error
    return found


def _table(soc: Array, mv: Array, sigma_mv: float, made_of: str) -> Ocv:
    """Put on the grid, in whole mV, rising."""
    whole = np.rint(np.interp(GRID, soc, mv)).astype(int)
    for k in range(1, len(whole)):
        whole[k] = max(whole[k], whole[k - 1] + 1)
    sigma = max(LEAST_SIGMA_MV, int(np.ceil(sigma_mv)))
    return Ocv(tuple(int(v) for v in whole), sigma, made_of)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _branches(z: dict[str, Any]) -> Ocv:
    rise, fall = z["ocv_charge_v"] * 1000.0, z["ocv_discharge_v"] * 1000.0
    half = np.interp(_FINE, z["soc"], (rise - fall) / 2)[_INNER]
    return _table(z["soc"], (rise + fall) / 2, _rms(half), "the middle of both branches")


# --- full cycles ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """A charge and the discharge after it, on ``_FINE``."""

    cell: str
    share: float  # capacity, of rated
    rate: float  # the slower of both, of rated
    ocv_mv: Array


def _pairs(z: dict[str, Any]) -> list[_Pair]:
    """Full charges each with the full discharge that follows."""
    if not {"t_s", "current_a", "voltage_v"} <= set(z):
        return []
    rated_ah = float(z["nominal_ah"])
    current_a = z["current_a"].astype(float)
    volts = z["voltage_v"].astype(float)
    dt_s = np.clip(np.diff(z["t_s"].astype(float), prepend=z["t_s"][0]), 0, None)
    way = np.where(np.abs(current_a) < _ON * rated_ah, 0, np.sign(current_a))
    on = np.flatnonzero(way)
    if not len(on):
        return []
    turns = np.flatnonzero(np.diff(way[on]))
    firsts = on[np.r_[0, turns + 1]]
    lasts = on[np.r_[turns, len(on) - 1]]
    found = []
    for k in range(len(firsts) - 1):
        charge, discharge = slice(firsts[k], lasts[k] + 1), slice(firsts[k + 1], lasts[k + 1] + 1)
        if way[firsts[k]] < 0:
            continue
        one = _half(current_a[charge], volts[charge], dt_s[charge], rated_ah)
        other = _half(current_a[discharge], volts[discharge], dt_s[discharge], rated_ah)
        if one is None or other is None or abs(one[0] / other[0] - 1) > _MATCH:
            continue
        mv = (one[2] * other[1] + other[2] * one[1]) / (one[1] + other[1]) * 1000
        rate = min(float(np.median(one[1])), float(np.median(other[1]))) / rated_ah
        found.append(_Pair(str(z["cell_id"]), other[0] / rated_ah, rate, mv))
    return found


def _half(
    current_a: Array, volts: Array, dt_s: Array, rated_ah: float
) -> tuple[float, Array, Array] | None:
    """``(Ah, size of the current, voltage)`` of one direction over its own charge 0..1."""
    falls = current_a[0] < 0
    keep = np.abs(current_a) >= _ON * rated_ah
    step = np.abs(current_a) * dt_s / 3600
    step[0] = 0.0  # what came before belongs to the rest
    ah = np.cumsum(np.where(keep, step, 0.0))
    if ah[-1] < _FULL * rated_ah:
        return None
    soc = ah[keep] / ah[-1]
    size, mv = np.abs(current_a[keep]), volts[keep]
    if falls:
        soc, size, mv = 1 - soc[::-1], size[::-1], mv[::-1]
    return float(ah[-1]), np.interp(_FINE, soc, size), np.interp(_FINE, soc, mv)


def _cycles(pairs: list[_Pair]) -> Ocv:
    slowest = min(pair.rate for pair in pairs)
    pairs = [pair for pair in pairs if pair.rate <= _SLOWEST * slowest]
    cells = sorted({pair.cell for pair in pairs})
    early = []
    for cell in cells:
        mine = [pair for pair in pairs if pair.cell == cell]
        most = max(pair.share for pair in mine)
        early.append(np.mean([p.ocv_mv for p in mine if p.share >= _EARLY * most], axis=0))
    table = np.mean(early, axis=0)
    aged = [pair.ocv_mv for pair in pairs if pair.share >= _WORN]
    off = _rms((np.array(aged or early) - table)[:, _INNER])
    words = f"{len(pairs)} full cycles of {len(cells)} cells at no current"
    return _table(_FINE, table, off, words)


# --- rests ---------------------------------------------------------------------------------


def _rests(files: list[dict[str, Any]], base: CellProfile) -> Ocv:
    soc, mv, low, high, cells = _rested(files)
    if base.circuit is not None:
        mv = mv - np.interp(soc * 1e4, base.circuit.soc_bp, base.circuit.half_dmv) / 10
    knots = np.unique(np.clip(GRID, low, high))
    fitted = _smooth(soc, mv, knots)
    off = _rms(mv - np.interp(soc, knots, fitted))
    known = np.interp(_FINE, GRID, base.ocv_mv)
    at_low = fitted[0] - np.interp(low, _FINE, known)
    at_high = fitted[-1] - np.interp(high, _FINE, known)
    # below, the whole difference is kept; above, it goes to 0 where a full charge ends
    below, above = _FINE - low < 0, _FINE - high > 0
    inside = ~(below | above)
    moved = np.where(below, at_low, at_high * (1 - _FINE) / (1 - high))
    table = np.where(inside, np.interp(_FINE, knots, fitted), known + moved)
    hidden = base.ocv_sigma_mv if base.circuit is not None else 0.0
    moved_by = np.where(below, at_low, at_high)
    beyond = (_OTHER * base.ocv_sigma_mv) ** 2 + (moved_by / 2) ** 2
    var = np.where(inside, off**2 + hidden**2, beyond)
    sigma = float(np.sqrt(np.mean(var[_INNER])))
    words = (
        f"rests of {cells} cells at {low * 100:.0f}-{high * 100:.0f} % of their capacity; "
        f"beyond, {base.name} moved by {at_low:+.0f} and {at_high:+.0f} mV to meet"
    )
    return _table(_FINE, table, sigma, words)


def _rested(files: list[dict[str, Any]]) -> tuple[Array, Array, float, float, int]:
    """SOC of the own capacity and mV of the rows; from where to where; number of cells."""
    socs: list[Array] = []
    volts: list[Array] = []
    names: list[NDArray[Any]] = []
    for z in files:
        rated_ah = float(z["nominal_ah"])
        capacity_ah = z["capacity_ah"].astype(float)
        first = z["u_v"][0, :, 0] if "random_soc" in z else z["u_v"][:, :, 0]
        charge = z.get("soc_real", z["soc"]).astype(float)
        if first.ndim == 2:
            charge = np.broadcast_to(charge, first.shape)
            capacity_ah = capacity_ah[:, None]
        socs.append((charge * rated_ah / capacity_ah).ravel())
        volts.append(first.astype(float).ravel() * 1000)
        names.append(np.repeat(z["cell_id"], first.size // len(z["cell_id"])))
    soc, cell = np.concatenate(socs), np.concatenate(names)
    reach = [(soc[cell == one].min(), soc[cell == one].max()) for one in np.unique(cell)]
    k = min(_SEEN_BY, len(reach)) - 1
    low = sorted(float(one[0]) for one in reach)[k]
    high = sorted((float(one[1]) for one in reach), reverse=True)[k]
    seen = (soc >= low) & (soc <= high)
    return soc[seen], np.concatenate(volts)[seen], low, high, len(reach)


def _smooth(x: Array, y: Array, knots: Array) -> Array:
    """Values at the knots of the line through points, held back from bending."""
    n = len(knots)
    at = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, n - 2)
    share = np.clip((x - knots[at]) / (knots[at + 1] - knots[at]), 0, 1)
    design = np.zeros((len(x), n))
    design[np.arange(len(x)), at] = 1 - share
    design[np.arange(len(x)), at + 1] += share
    bend = np.zeros((max(n - 2, 0), n))
    for k in range(n - 2):
        left, right = knots[k + 1] - knots[k], knots[k + 2] - knots[k + 1]
        bend[k, k : k + 3] = 1 / left, -1 / left - 1 / right, 1 / right
    scale = float(np.mean(np.diff(knots)))
    system = design.T @ design / len(x) + _SMOOTH * scale**2 * bend.T @ bend
    return np.asarray(np.linalg.solve(system, design.T @ y / len(x)), np.float64)


# --- charge curves alone -------------------------------------------------------------------


def _curves(z: dict[str, Any]) -> bool:
    return "charge_ah" in z and z["charge_ah"].ndim == 2


def _one_branch(files: list[dict[str, Any]], base: CellProfile) -> Ocv:
    new, every = [], []
    for z in files:
        rated_ah = float(z["nominal_ah"])
        for k, charge_ah in enumerate(z["charge_ah"].astype(float)):
            ah = np.maximum.accumulate(charge_ah)
            curve = np.interp(_FINE, ah / ah[-1], z["voltage_v"].astype(float)) * 1000
            if ah[-1] >= _WORN * rated_ah:
                every.append(curve)
            if k == 0:
                new.append(curve)
    over_mv = base.r_ref_uohm_ah / 1000 / 2  # at 1C
    table = np.mean(new, axis=0) - over_mv
    off = _rms((np.array(every or new) - over_mv - table)[:, _INNER])
    words = f"charge curves at 1C of {len(files)} cells, less {over_mv:.0f} mV"
    return _table(_FINE, table, float(np.hypot(off, over_mv)), words)
