"""Recorded cells: what a file holds, checked, on one time axis.

Two kinds of file are read:

**CSV**, with a header. Columns are found by name, in any order, other columns are ignored:

| column | names | |
|---|---|---|
| time, s | ``t_s``, ``time_s``, ``time``, ``test_time_s`` | never falls |
| current, A | ``current_a``, ``current`` | positive when charging |
| voltage, V | ``voltage_v``, ``voltage`` | of one cell |
| temperature, degC | ``temperature_c``, ``temperature`` | may be missing |
| cycle | ``cycle_index``, ``cycle`` | may be missing |

Capitals, blanks, brackets and underscores in a name do not matter: ``Test_Time(s)`` is found.

**npz** with arrays of one length ``t_s``, ``current_a``, ``voltage_v`` and, if there,
``temperature_c``, ``cycle_index``, ``segment`` and ``mode`` (1 charge, -1 discharge), and with
``capacity_ah`` for each of ``cycle`` and ``nominal_ah``. Where time starts anew in each cycle or
segment, a cycle has to be chosen.

A sample closes its interval: its current flowed since the sample before. Where the record is cut
(between the segments of a cycle) and at both ends, and where a charge is followed by a discharge,
the cell rests for ``hold_s`` at the last voltage seen without current. That gives a board the time
to notice the end of a charge or discharge. Keep it short: a voltage that is held for half an hour
looks settled, which one recorded after two minutes of rest is not.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.parameters import Array

DEFAULT_HOLD_S = 300.0
_NAMES = {
    "t_s": ("ts", "times", "time", "testtimes"),
    "current_a": ("currenta", "current"),
    "voltage_v": ("voltagev", "voltage"),
    "temperature_c": ("temperaturec", "temperature"),
    "cycle_index": ("cycleindex", "cycle"),
}
_NEEDED = ("t_s", "current_a", "voltage_v")
_LEAST_RATE = 0.002  # of the largest current: less is rest
_LEAST_SAMPLES = 3
_MOST_V = 6.0


class RecordingError(ValueError):
    """The file is not a recording that can be played; the message is one line."""


@dataclass(frozen=True)
class Recording:
    """One cell's voltage, current and temperature over time; arrays of one length, ``t_s`` from 0.

    ``capacity_ah`` and ``nominal_ah`` are what the file says, ``None`` where it does not.
    """

    name: str
    t_s: Array
    current_a: Array
    voltage_v: Array
    temperature_c: Array | None = None
    capacity_ah: float | None = None
    nominal_ah: float | None = None

    @property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return float(self.t_s[-1])

    def charge_ah(self) -> Array:
        """Charge since the first sample, at each sample."""
        steps = self.current_a[1:] * np.diff(self.t_s)
        total: Array = np.concatenate(([0.0], np.cumsum(steps))) / 3600.0
        return total

    @staticmethod
    def load(
        path: str | Path, cycle: int | None = None, hold_s: float = DEFAULT_HOLD_S
    ) -> Recording:
        """Read ``path``; ``cycle`` chooses one of its cycles. ``RecordingError``."""
        path = Path(path)
        if path.suffix.lower() == ".npz":
            columns = _read_npz(path)
        elif path.suffix.lower() == ".csv":
            columns = _read_csv(path)
        else:
            raise RecordingError(f"{path}: neither .csv nor .npz")
        pieces = _choose(path, columns, cycle)
        for piece in pieces:
            _check(path, piece)
        joined = _join([part for piece in pieces for part in _cut(piece)], hold_s)
        name = str(columns["cell_id"]) if "cell_id" in columns else path.stem
        return Recording(
            name if cycle is None else f"{name} cycle {cycle}",
            joined["t_s"],
            joined["current_a"],
            joined["voltage_v"],
            joined.get("temperature_c"),
            _label(columns, cycle),
            float(columns["nominal_ah"]) if "nominal_ah" in columns else None,
        )


def cycles(path: str | Path) -> list[int]:
    """The cycles that a file holds, empty where it does not count them. ``RecordingError``."""
    path = Path(path)
    columns = _read_npz(path) if path.suffix.lower() == ".npz" else _read_csv(path)
    return [int(c) for c in np.unique(columns["cycle_index"])] if "cycle_index" in columns else []


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path}: cannot be read as npz: {error}") from None
    for name in _NEEDED:
        if name not in columns:
            raise RecordingError(f'{path}: no array "{name}" (has: {", ".join(sorted(columns))})')
    n = len(columns["t_s"])
    for name in ("current_a", "voltage_v"):
        if columns[name].shape != (n,):
            raise RecordingError(f'{path}: "{name}" has not the length of "t_s", {n}')
    for name in ("temperature_c", "cycle_index", "segment", "mode"):
        if name in columns and columns[name].shape != (n,):
            del columns[name]  # on a clock of its own
    return columns


def _read_csv(path: Path) -> dict[str, Array]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as CSV: {error}") from None
    if not rows:
        raise RecordingError(f"{path}: empty")
    header = ["".join(c for c in name.lower() if c.isalnum()) for name in rows[0]]
    places = {
        name: header.index(alias)
        for name, aliases in _NAMES.items()
        for alias in reversed(aliases)
        if alias in header
    }
    for name in _NEEDED:
        if name not in places:
            raise RecordingError(
                f'{path}: no column "{name}" (has: {", ".join(map(repr, rows[0]))})'
            )
    columns: dict[str, list[float]] = {name: [] for name in places}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        for name, place in places.items():
            try:
                columns[name].append(float(row[place]))
            except IndexError:
                raise RecordingError(f'{path}: line {number}: no "{rows[0][place]}"') from None
            except ValueError:
                raise RecordingError(
                    f'{path}: line {number}: "{rows[0][place]}" is {row[place]!r}, not a number'
                ) from None
    return {name: np.array(values) for name, values in columns.items()}


def _choose(path: Path, columns: dict[str, Array], cycle: int | None) -> list[dict[str, Array]]:
    """The samples of ``cycle``, charge before discharge, as pieces that time runs through."""
    n = len(columns["t_s"])
    series = {k: columns[k] for k in (*_NEEDED, "temperature_c") if k in columns}
    if cycle is None:
        if n > 1 and (np.diff(columns["t_s"]) < 0).any() and "cycle_index" in columns:
            counted = columns["cycle_index"]
            raise RecordingError(
                f"{path}: time starts anew in each cycle: choose one from "
                f"{int(counted.min())} to {int(counted.max())}"
            )
        return [series]
    if "cycle_index" not in columns:
        raise RecordingError(f"{path}: cycle {cycle}: the file does not count its cycles")
    inside = columns["cycle_index"] == cycle
    if not inside.any():
        known = np.unique(columns["cycle_index"])
        raise RecordingError(
            f"{path}: no cycle {cycle} (has: {int(known[0])} to {int(known[-1])})"
        )
    if "segment" not in columns:
        return [{name: values[inside] for name, values in series.items()}]
    # Of several charges or discharges in a cycle the largest counts; the others were broken off.
    largest: dict[int, tuple[float, dict[str, Array]]] = {}
    for segment in np.unique(columns["segment"][inside]):
        here = columns["segment"] == segment
        mode = int(columns["mode"][here][0]) if "mode" in columns else 0
        piece = {name: values[here] for name, values in series.items()}
        amount = abs(float(np.sum(piece["current_a"][1:] * np.diff(piece["t_s"]))))
        key = -mode
        if key not in largest or amount > largest[key][0]:
            largest[key] = (amount, piece)
    return [largest[key][1] for key in sorted(largest)]


def _check(path: Path, piece: dict[str, Array]) -> None:
    t_s = piece["t_s"]
    if len(t_s) < _LEAST_SAMPLES:
        raise RecordingError(f"{path}: {len(t_s)} samples are too few")
    for name, values in piece.items():
        if not np.isfinite(values).all():
            at = int(np.argmin(np.isfinite(values)))
            raise RecordingError(f'{path}: sample {at + 1}: "{name}" is {values[at]}')
    if (np.diff(t_s) < 0).any():
        at = int(np.argmax(np.diff(t_s) < 0)) + 1
        raise RecordingError(
            f"{path}: sample {at + 1}: time falls from {t_s[at - 1]:g} to {t_s[at]:g} s"
        )
    highest = float(piece["voltage_v"].max())
    if highest > _MOST_V or piece["voltage_v"].min() < 0:
        raise RecordingError(f"{path}: {highest:g} V is not the voltage of one cell")


def _cut(piece: dict[str, Array]) -> list[dict[str, Array]]:
    """Cut in the rest before the first discharge that follows a charge."""
    current = piece["current_a"]
    least_a = _LEAST_RATE * float(np.abs(current).max())
    charging = np.flatnonzero(current > least_a)
    discharging = np.flatnonzero(current < -least_a)
    if not len(charging) or not len(discharging) or charging[0] > discharging[0]:
        return [piece]
    turn = int(discharging[0])
    last = int(charging[charging < turn][-1])
    if turn - last < 2:  # no rest between, so no voltage to hold
        return [piece]
    return [
        {name: values[:turn] for name, values in piece.items()},
        {name: values[turn - 1 :] for name, values in piece.items()},
    ]


def _join(pieces: list[dict[str, Array]], hold_s: float) -> dict[str, Array]:
    """The pieces one after the other, with a rest before, between and after them."""
    parts: dict[str, list[Array]] = {name: [] for name in pieces[0]}
    now_s = 0.0
    least_a = _LEAST_RATE * max(float(np.abs(p["current_a"]).max()) for p in pieces)

    def hold(piece: dict[str, Array], at: int) -> None:
        nonlocal now_s
        for name, held in parts.items():
            value = float(piece[name][at])
            if name == "t_s":
                held.append(np.array([now_s, now_s + hold_s]))
            else:
                held.append(np.full(2, 0.0 if name == "current_a" else value))
        now_s += hold_s

    for number, piece in enumerate(pieces):
        if number == 0 and abs(float(piece["current_a"][0])) <= least_a:
            hold(piece, 0)
        for name, held in parts.items():
            values = piece[name].astype(float)
            held.append(values - values[0] + now_s if name == "t_s" else values)
        if abs(float(piece["current_a"][0])) > least_a:
            # Its interval lies before the record; what flowed there is not ours.
            parts["current_a"][-1] = np.concatenate(([0.0], parts["current_a"][-1][1:]))
        now_s = float(parts["t_s"][-1][-1])
        if abs(float(piece["current_a"][-1])) <= least_a:
            hold(piece, -1)
    joined = {name: np.concatenate(held) for name, held in parts.items()}
    first = np.concatenate(([True], np.diff(joined["t_s"]) > 0))
    # Two samples at one time: the later one is where the new piece starts.
    last = np.concatenate((np.diff(joined["t_s"]) > 0, [True]))
    keep = first & last | (last & ~first)
    return {name: values[keep] for name, values in joined.items()}


def _label(columns: dict[str, Array], cycle: int | None) -> float | None:
    if "capacity_ah" not in columns:
        return None
    capacity = np.atleast_1d(columns["capacity_ah"])
    if cycle is not None and "cycle" in columns:
        at = np.flatnonzero(columns["cycle"] == cycle)
        if not len(at):
            return None
        value = float(capacity[at[0]])
    elif len(capacity) == 1:
        value = float(capacity[0])
    else:
        return None
    return value if np.isfinite(value) else None
