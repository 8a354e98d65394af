"""DC resistance over 1 s from recorded steps, referred to 25 degC by the firmware.

Each recording is put on the board's 1 s grid and fed to ``Resistance`` as snapshots of whole mV
and mA; the figure is how far the resistance at other temperatures, once referred, is from the
one recorded at 25 degC of the same cell, and whether the intervals meet.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.estimators.resistance import Resistance, at_25
from firmware.settings import Settings
from firmware.snapshot import Snapshot

_STRING = 3  # cells of the smallest pack; all the same here
_GAP_S = 2.0


@dataclass(frozen=True)
class Case:
    """One cell: its recordings at 25 degC and elsewhere, in the folder of the set."""

    folder: str
    rated_mah: int
    profile: str
    warm: tuple[tuple[str, int | None], ...]  # file, 0.1 degC where it is not recorded
    others: tuple[tuple[str, int | None], ...]


CASES = (
    Case(
        "nissan_leaf", 33100, "nmc", (("hppc_25C", 250),), (("hppc_10C", 100), ("hppc_40C", 400))
    ),
    Case(
        "panasonic_18650pf",
        2900,
        "nmc",
        (("25C_HPPC", None), ("25C_Cycle1", None), ("25C_Cycle2", None)),
        (("10C_Cycle1", None), ("10C_Cycle2", None), ("10C_US06", None)),
    ),
)


@dataclass(frozen=True)
class Measured:
    """What the steps of some recordings gave, in micro-ohms."""

    raw: float  # not referred to 25 degC
    interval: tuple[float, float, float]  # at 25 degC, low, high
    mean_dc: float
    running: list[float]  # at 25 degC, after each step


def judge(folder: Path) -> list[dict[str, Any]]:
    """Figures of the sets below ``folder`` that have steps at several temperatures."""
    results = []
    for case in CASES:
        if not (folder / case.folder).is_dir():
            continue
        reference = _measure(folder, case, case.warm)
        for name, dc in case.others:
            got = _measure(folder, case, ((name, dc),))
            if reference is None or got is None:
                continue
            r, low, high = got.interval
            r_ref, low_ref, high_ref = reference.interval
            results.append(
                {
                    "set": f"{case.folder}/{name}",
                    "steps": len(got.running),
                    "temperature_c": got.mean_dc / 10,
                    "as_measured_mohm": got.raw / 1000,
                    "at_25c_mohm": r / 1000,
                    "half_width_mohm": (high - low) / 2000,
                    "reference_mohm": r_ref / 1000,
                    "error_before": got.raw / r_ref - 1,
                    "error": r / r_ref - 1,
                    "intervals_meet": low <= high_ref and low_ref <= high,
                }
            )
    return results


def _measure(
    folder: Path, case: Case, files: tuple[tuple[str, int | None], ...]
) -> Measured | None:
    paths = [(folder / case.folder / f"{name}.npz", dc) for name, dc in files]
    return measure(paths, case.profile, case.rated_mah)


def measure(files: list[tuple[Path, int | None]], profile: str, rated_mah: int) -> Measured | None:
    """Of recordings, each with its temperature where that is not recorded; None without a step."""
    settings = Settings("TEST", _STRING, profile, rated_mah)
    resistance = Resistance(settings)
    temperatures: list[float] = []
    running: list[float] = []
    now_s = 0
    for path, dc in files:
        snapshots = _grid(path, dc)
        resistance.interrupt()
        s = Snapshot(_STRING)
        for row in snapshots:
            now_s += 1
            if row is None:
                resistance.interrupt()
                continue
            for i in range(_STRING):
                s.cell_mv[i] = row[0]
            s.current_ma = row[1]
            s.min_dc = s.max_dc = row[2]
            full = row[3]
            if resistance.update(s, now_s, full):
                temperatures.append(row[2])
                running.append(resistance.r[0])
    figure = resistance.interval(0)
    if figure is None:
        return None
    raw = running[-1] / at_25(temperatures[-1])[0]
    return Measured(raw, figure, float(np.mean(temperatures)), running)


def _grid(path: Path, dc: int | None) -> list[tuple[int, int, int, int | None] | None]:
    """(mV, mA, 0.1 degC, SOC in 0.01 % where recorded) each second; None in a gap."""
    with np.load(path, allow_pickle=False) as data:
        t_s: NDArray[np.float64] = data["t_s"]
        at_s = np.arange(np.ceil(t_s[0]), t_s[-1])
        # the last sample before each second, as a chip that is read would give it
        k = np.searchsorted(t_s, at_s + 1e-6) - 1
        far = at_s - t_s[k] > _GAP_S
        far |= t_s[np.minimum(k + 1, len(t_s) - 1)] - t_s[k] > 2 * _GAP_S
        mv = np.rint(data["voltage_v"][k] * 1000).astype(int)
        ma = np.rint(data["current_a"][k] * 1000).astype(int)
        if dc is None:
            dcs = np.rint(data["temperature_c"][k] * 10).astype(int)
        else:
            dcs = np.full(len(k), dc)
        soc = np.rint(data["soc_ref"][k] * 10000).astype(int) if "soc_ref" in data.files else None
    return [
        None
        if gap
        else (int(mv[i]), int(ma[i]), int(dcs[i]), None if soc is None else int(soc[i]))
        for i, gap in enumerate(far)
    ]


def line(r: dict[str, Any]) -> str:
    """One result as a line."""
    return (
        f"{r['set']:30s} {r['steps']:4d} steps at {r['temperature_c']:4.1f} C"
        f"  {r['as_measured_mohm']:6.2f} -> {r['at_25c_mohm']:6.2f} ± {r['half_width_mohm']:.2f}"
        f" mohm, at 25 C {r['reference_mohm']:6.2f}  ({r['error_before']:+.0%} -> "
        f"{r['error']:+.0%}{'' if r['intervals_meet'] else ', outside the interval'})"
    )


if __name__ == "__main__":
    import sys

    for _result in judge(Path(sys.argv[1])):
        print(line(_result))
