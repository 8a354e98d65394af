"""Recorded cells, brought into one form: charges as samples, each with its reference capacity.

The folders hold one ``.npz`` a cell (``shared/data/README.md`` describes them). What a set looks
like is found from the arrays in its files, not from the folder's name.

The reference is the capacity of the discharge that follows the charge, as the source gives it;
where a set has no discharges (curves only) it is the end of the same charge, which flatters.
"""

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CURVE_CYCLES = 100  # between two curves of a set that has curves only
_CURVE_DEGREES = 40.0
_CURVE_STEP_S = 10.0  # the curve between its points, 10 mV apart, is taken as straight
_ROOM_DEGREES = 25.0  # where the source says "room temperature, not recorded"


class DataError(ValueError):
    """A folder or a file that cannot be used; the message names it and the way out."""


class Charge:
    """One charge: samples, and what the cell's capacity was by the discharge after it."""

    def __init__(
        self,
        t_s: Array,
        current_a: Array,
        voltage_v: Array,
        temp_c: Array,
        capacity_ah: float,
        cycles: float,
        cycle: int,
    ) -> None:
        there = np.isfinite(t_s) & np.isfinite(current_a) & np.isfinite(voltage_v)
        self.t_s = t_s[there]
        self.current_a = current_a[there]  # a sample closes its interval
        self.voltage_v = voltage_v[there]
        self.temp_c = temp_c[there]  # nan: not known
        # nan: not known, or not to be trusted; a capacity of nothing is a discharge that failed
        self.capacity_ah = capacity_ah if capacity_ah > 0 else float("nan")
        self.cycles = cycles  # full cycles since the charge before
        self.cycle = cycle


class Cell:
    """One physical cell: its charges in order of time."""

    def __init__(self, name: str, nominal_ah: float, charges: "list[Charge]") -> None:
        self.name = name
        self.nominal_ah = nominal_ah
        self.charges = charges


def load_cells(folder: "str | Path") -> "list[Cell]":
    """The cells of a folder, ordered by name; ``DataError`` where there is none."""
    path = Path(folder)
    files = sorted(path.glob("*.npz"))
    if not files:
        raise DataError(f"{path}: holds no .npz file (name a folder of recorded cells)")
    cells = [cell for cell in map(_load, files) if cell.charges]
    if not cells:
        raise DataError(f"{path}: none of its cells has a charge")
    return cells


def _load(file: Path) -> Cell:
    try:
        with np.load(file, allow_pickle=False) as data:
            z = {key: data[key] for key in data.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    if "charge_ah" in z and z["charge_ah"].ndim == 2:
        charges = _curves(z)
    elif "flags" in z and "step" in z:
        charges = _stepped(z)
    elif "segment" in z and "mode" in z:
        charges = _segments(z)
    else:
        raise DataError(f"{file}: has no charges this command knows (arrays: {', '.join(z)})")
    try:
        nominal_ah = float(z["nominal_ah"])
        name = str(z["cell_id"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: has no cell_id and nominal_ah of one cell") from error
    if not nominal_ah > 0:
        raise DataError(f"{file}: nominal_ah {nominal_ah} is no capacity")
    return Cell(name, nominal_ah, [charge for charge in charges if len(charge.t_s) > 1])


def _curves(z: "dict[str, Array]") -> "list[Charge]":
    """Q(V) at 1C, turned into samples in time."""
    volts = z["voltage_v"].astype(float)
    current_a = float(z["nominal_ah"])
    found = []
    for k, charge_ah in enumerate(z["charge_ah"].astype(float)):
        known = np.isfinite(charge_ah) & np.isfinite(z["voltage_v"])
        if known.sum() < 2:
            continue
        ah = np.maximum.accumulate(charge_ah[known])
        end_s = ah[-1] / current_a * 3600
        t_s = np.arange(0.0, end_s, _CURVE_STEP_S)
        rise = np.concatenate(([True], np.diff(ah) > 0))
        volts_at = np.interp(t_s, ah[rise] / current_a * 3600, volts[known][rise])
        flat = np.full(len(t_s), current_a)
        warm = np.full(len(t_s), _CURVE_DEGREES)
        since = float(CURVE_CYCLES if k else 0)
        label = float(z["capacity_ah"][k])
        found.append(Charge(t_s, flat, volts_at, warm, label, since, int(z["curve"][k])))
    return found


def _stepped(z: "dict[str, Array]") -> "list[Charge]":
    """Cycles with numbered steps: all up to the discharge is the charge."""
    cycle = z["cycle_index"]
    found = []
    bounds = np.searchsorted(cycle, np.arange(1, len(z["cycle"]) + 2))
    for n in range(len(z["cycle"])):
        part = slice(bounds[n], bounds[n + 1])
        keep = z["step"][part] < 7
        if not np.any(z["step"][part] == 2):
            continue
        clean = int(z["flags"][n]) == 0
        label = float(z["capacity_ah"][n]) if clean else float("nan")
        warm = np.full(int(keep.sum()), _ROOM_DEGREES)
        found.append(
            Charge(
                z["t_s"][part][keep],
                z["current_a"][part][keep].astype(float),
                z["voltage_v"][part][keep].astype(float),
                warm,
                label,
                1.0,
                n + 1,
            )
        )
    return found


def _segments(z: "dict[str, Array]") -> "list[Charge]":
    """Separate charges and discharges; the charge is labelled by the discharge it precedes."""
    labels = dict(zip(z["cycle"].tolist(), z["capacity_ah"].tolist(), strict=True))
    segment = z["segment"]
    starts = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
    ends = np.r_[starts[1:], len(segment)]
    charges = []
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        if z["mode"][a] > 0:
            charges.append((a, b, int(z["cycle_index"][a])))
    found = []
    for k, (a, b, cycle) in enumerate(charges):
        last = k + 1 == len(charges) or charges[k + 1][2] != cycle
        # of two charges before one discharge only the last one is followed by it
        label = labels.get(cycle, float("nan")) if last else float("nan")
        part = slice(a, b)
        found.append(
            Charge(
                z["t_s"][part],
                z["current_a"][part].astype(float),
                z["voltage_v"][part].astype(float),
                z["temperature_c"][part].astype(float),
                label,
                1.0,
                cycle,
            )
        )
    return found
