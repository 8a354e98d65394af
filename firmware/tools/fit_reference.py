"""Fits the reference of the resistance: over 1 s, of a new cell, at 25 degC and mid SOC.

From pulse tests: the change of voltage from before a pulse of 1C to its end at 1 s, charge and
discharge averaged, at half charge, of the tenth of the cells that have the most capacity. Where
pulses lasted 5 s only, 1 s is taken between their first reading, at 10 ms, and their end, on the
logarithm of time.

Where the tester wrote down a resistance of its own, early cycles of it.

From recordings with steps of the current at 1 Hz or faster: by the firmware's own ``Resistance``,
which refers what it sees to 25 degC; the middle of what it said over the recording. The current
must step by enough for its interval to be narrow.
"""

from pathlib import Path
from typing import Any

import numpy as np

from common.profiles import CellProfile
from firmware.tools.datasets import DataError
from firmware.tools.fit_ocv import read_all
from firmware.tools.validate_resistance import measure

_FRESH = 0.9  # quantile of capacity above which cells stand for new ones
_NEAR_HALF = 0.051
_FIRST_S = 0.01
_STEP_S = 1.0
_NEAR_K = 5.0
_ROUND = 100  # uohm Ah
_SURE = 0.1  # of the resistance: half the interval must be narrower


def fit_reference(folder: str | Path, base: CellProfile) -> tuple[int, str]:
    """``(uohm times Ah, what it was made of)``; ``DataError`` where nothing tells it."""
    files = read_all(folder)
    if any("u_v" in z for z in files):
        return _pulses([z for z in files if "u_v" in z])
    if any("internal_resistance_ohm" in z for z in files):
        return _tester([z for z in files if "internal_resistance_ohm" in z])
    path = Path(folder)
    found = []
    for name in sorted(path.glob("*.npz")) if path.is_dir() else [path]:
        with np.load(name, allow_pickle=False) as data:
            if not {"t_s", "current_a", "voltage_v", "nominal_ah"} <= set(data.files):
                continue
            rated_ah = float(data["nominal_ah"])
            if "temperature_c" in data.files and len(data["temperature_c"]) == len(data["t_s"]):
                warm_c, dc = float(np.median(data["temperature_c"])), None
            else:
                warm_c, dc = 25.0 if "25C" in name.stem else float("nan"), 250
        if not abs(warm_c - 25) <= _NEAR_K:
            continue
        seen = measure([(name, dc)], base.name, round(rated_ah * 1000))
        if seen is None:
            continue
        uohm, low, high = seen.interval
        if high - low < 2 * _SURE * uohm:
            found.append((float(np.median(seen.running)) * rated_ah, name.stem))
    if not found:
        raise DataError(f"{folder}: no pulses, and no steps of the current near 25 degC")
    value = float(np.median([one[0] for one in found]))
    return _rounded(value), "steps of the current in " + ", ".join(one[1] for one in found)


def _tester(files: list[dict[str, Any]]) -> tuple[int, str]:
    """By the tester itself, of each cell's first cycles."""
    found = []
    for z in files:
        ohm = z["internal_resistance_ohm"].astype(float)
        early = ohm[: max(1, len(ohm) // 20)]
        found.append(float(np.nanmedian(early)) * float(z["nominal_ah"]) * 1e6)
    return _rounded(float(np.median(found))), "the tester's pulse at full charge, early cycles"


def _rounded(uohm_ah: float) -> int:
    return round(uohm_ah / _ROUND) * _ROUND


def _pulses(files: list[dict[str, Any]]) -> tuple[int, str]:
    values, shares = [], []
    for z in files:
        rated_ah = float(z["nominal_ah"])
        share = z["capacity_ah"].astype(float) / rated_ah
        soc = z["soc"].astype(float)
        widths_s = np.atleast_1d(z["pulse_width_s"]).astype(float)
        if "random_soc" in z:
            u_v = z["u_v"].astype(float)[int(np.argmin(np.abs(widths_s - _STEP_S)))]
            part, near = 1.0, np.abs(soc - 0.5) < _NEAR_HALF
        else:
            level = int(np.argmin(np.abs(soc - 0.5)))
            u_v = z["u_v"].astype(float)[:, level]
            part = float(np.log(_STEP_S / _FIRST_S) / np.log(widths_s[-1] / _FIRST_S))
            near = np.ones(len(share), bool)
        for row, capacity in zip(u_v[near], share[near], strict=True):
            # turning points of the 1C pulses, counted from 0: 8 before the charge pulse, 9 its
            # begin, 10 its end, 12 before the discharge pulse, 13 its begin, 14 its end
            up = (row[9] + part * (row[10] - row[9])) - row[8]
            down = row[12] - (row[13] + part * (row[14] - row[13]))
            values.append((up + down) / 2 * 1e6)
            shares.append(float(capacity))
    fresh = np.array(shares) >= np.quantile(shares, _FRESH)
    words = f"1C pulses at half charge of the {int(fresh.sum())} freshest tests"
    return _rounded(float(np.median(np.array(values)[fresh]))), words
