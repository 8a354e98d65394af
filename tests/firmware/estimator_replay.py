"""Plays recorded cells into ``Estimators`` as the chip would see them, second by second.

``recorded`` cuts cycles out of a measured cell of ``../shared/data`` and brings them to one-second
steps. Run as a script it prints a table:

    PYTHONPATH=. python tests/firmware/estimator_replay.py ../shared/data/calce_cs2/CS2_35.npz
"""

from types import SimpleNamespace

import numpy as np
from estimator_cells import Feeder


def recorded(path, cycle):
    """``(current A, voltage V, temperature C)`` of a cycle, charge then discharge, each second."""
    data = np.load(path, allow_pickle=False)
    parts = []
    if "segment" in data:
        for mode in (1, -1):
            chosen = (data["cycle_index"] == cycle) & (data["mode"] == mode)
            segments = np.unique(data["segment"][chosen])
            parts += [chosen & (data["segment"] == segment) for segment in segments]
    else:
        parts.append(data["cycle_index"] == cycle)
    out = []
    for part in parts:
        t = data["t_s"][part]
        grid = np.arange(t[0], t[-1], 1.0)
        # a current step stays a step: the sample that closes an interval holds for all of it
        at = np.searchsorted(t, grid, side="left")
        current = data["current_a"][part][at]
        voltage = np.interp(grid, t, data["voltage_v"][part])
        warmth = (
            np.interp(grid, t, data["temperature_c"][part])
            if "temperature_c" in data
            else np.full(len(grid), 25.0)
        )
        out.append((current, voltage, warmth))
    return tuple(np.concatenate(column) for column in zip(*out, strict=True))


def truth(path, cycle):
    """Measured discharge capacity of that cycle against nominal."""
    data = np.load(path, allow_pickle=False)
    return float(data["capacity_ah"][cycle - 1] / data["nominal_ah"])


def play(path, cycles, profile="lco", cells_mv=(0, 0, 0), feeder=None, **sensor):
    """Play ``cycles`` of one cell as a string of equal ones; the figures after each cycle."""
    if feeder is None:
        rated_mah = round(float(np.load(path)["nominal_ah"]) * 1000)
        feeder = Feeder(len(cells_mv), profile, rated_mah, **sensor)
    shift = [mv / 1000 for mv in cells_mv]
    rows = []
    for cycle in cycles:
        for current, voltage, warmth in zip(*recorded(path, cycle), strict=True):
            feeder.step(float(current), [voltage + dv for dv in shift], float(warmth))
        e = feeder.estimators
        rows.append(
            SimpleNamespace(
                cycle=cycle,
                truth=truth(path, cycle),
                soh=e.soh_bp and e.soh_bp / 10000,
                lo=e.soh_lo_bp and e.soh_lo_bp / 10000,
                hi=e.soh_hi_bp and e.soh_hi_bp / 10000,
                method=e.soh_method,
                refusal=e.refusal,
                count=e.soh.count,
            )
        )
    return rows


def table(rows):
    """The rows as text, one line a cycle."""
    lines = ["cycle  truth    soh     lo     hi  inside  method refusal"]
    for r in rows:
        if r.soh is None:
            lines.append(f"{r.cycle:5d}  {r.truth:5.1%}      -  refused: {r.refusal}")
        else:
            inside = "yes" if r.lo <= r.truth <= r.hi else "NO"
            lines.append(
                f"{r.cycle:5d}  {r.truth:5.1%}  {r.soh:5.1%}  {r.lo:5.1%}  {r.hi:5.1%}"
                f"  {inside:>6}  {r.method:6d} {r.refusal:7d}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:]:
        total = len(np.load(name)["cycle"])
        print(name)
        for start in np.linspace(3, total - 5, 6).astype(int):
            print(table(play(name, range(start, start + 2))))
