"""``echelon validate soc``: the SOC filter on recorded drives, against the testers' counters.

For each test the circuit is fitted to the training folder without that test and its repeats; the
firmware's ``SocFilter`` is then fed what the chip would have read (1 mV, 1 mA, 0.1 degC, whole
microampere-hours), started 10 % off. With ``--noise`` each of some devices reads everything with
its own offset and gain. Figures count from the moment at which both ten minutes and 5 % of the
capacity in throughput have passed: by then the start has to be forgotten.

Two kinds of folders: a slow discharge ``*C20_OCV.npz`` with drives at several temperatures, or
both branches ``ocv_curve.npz`` of a flat chemistry with drives in its flat zone; of a single
drive the first hours train and the rest tests. Every test is also started in its middle, where
neither the slow lag nor the charge is known.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import NotRequired, TypedDict

import numpy as np

from common.ecm import Ecm
from firmware.estimators.soc_filter import SocFilter
from firmware.tools import plots
from firmware.tools.drives import Array, DataError, Drive, Folder, Mask, cut
from firmware.tools.fit_ecm import Fit

HELP = "SOC on recorded drives: error and interval coverage"

START_OFF_PCT = 10.0
SETTLED_S = 600
SETTLED_SHARE = 0.05
DEVICES = 4
TRAIN_HOURS = 5.0  # of a single drive
MIDDLE_SOC = 0.6

Device = tuple[float, float, float]  # offset in mV, gain and offset in A of the current
Run = tuple[Array, Array, str]  # error, sigma, name of the test


class Figures(TypedDict):
    """What is said of some runs; ``files``: the RMSE of each test."""

    tests: int
    updates: int
    rmse_pct: float
    mae_pct: float
    p95_pct: float
    max_pct: float
    coverage_pct: float
    half_width_pct: float
    files: NotRequired[dict[str, float]]


def readings(test: Drive, device: Device) -> list[list[int]]:
    """What the chip reads: lists of mV, mA, 0.1 degC, uAh, ms. ``device``: mV, gain, offset A."""
    offset_mv, gain, offset_a = device
    dt = np.diff(test["t_s"], prepend=test["t_s"][0] - 1)
    seen_a = test["current_a"] * gain + offset_a
    mean_a = test["current_a"].copy()
    gap = dt > 5  # in a gap of the record the counter went on
    mean_a[gap] = np.diff(test["ah"], prepend=test["ah"][0])[gap] * 3600 / dt[gap]
    passed = np.round(np.cumsum((mean_a * gain + offset_a) * dt) / 3.6e-3)
    columns = (
        test["voltage_v"] * 1000 + offset_mv,
        seen_a * 1000,
        test["temperature_c"] * 10,
        np.diff(passed, prepend=0),
        dt * 1000,
    )
    return [np.round(column).astype(int).tolist() for column in columns]


def trace(
    test: Drive, ecm: Ecm, rated_mah: int, device: Device, off_pct: float
) -> tuple[Array, Array]:
    """``(SOC, sigma)`` in % that the filter gives at each reading."""
    estimator = SocFilter(ecm, rated_mah, offset_ma=0.6 * rated_mah / 1000)
    estimator.start(test["soc"][0] * 100 + off_pct, START_OFF_PCT)
    z: list[float] = []
    sigma: list[float] = []
    for mv, ma, dc, uah, ms in zip(*readings(test, device), strict=True):
        estimator.update(mv, ma, dc, uah, ms)
        z.append(estimator.z)
        sigma.append(estimator.sigma())
    return np.array(z), np.array(sigma)


def settled(test: Drive) -> Mask:
    """From when on the start has to be forgotten."""
    dt = np.diff(test["t_s"], prepend=test["t_s"][0])
    share = np.cumsum(np.abs(test["current_a"]) * dt) / 3600 / test["capacity_ah"]
    late: Mask = (test["t_s"] - test["t_s"][0] >= SETTLED_S) & (share >= SETTLED_SHARE)
    return late


def play(
    test: Drive, ecm: Ecm, rated_mah: int, device: Device, off_pct: float
) -> tuple[Array, Array]:
    """``(error, sigma)`` in % of SOC after the filter has settled."""
    z, sigma = trace(test, ecm, rated_mah, device, off_pct)
    late = settled(test)
    return (z - 100 * test["soc"])[late], sigma[late]


def devices(noise: bool, capacity_ah: float) -> list[Device]:
    """The devices to read with: one without error, or some drawn with a fixed seed."""
    if not noise:
        return [(0.0, 1.0, 0.0)]
    draw = np.random.default_rng(18650)
    return [
        (
            draw.uniform(-5, 5),
            1 + draw.uniform(-0.005, 0.005),
            draw.uniform(-1, 1) * capacity_ah / 1000,
        )
        for _ in range(DEVICES)
    ]


def _twins(name: str, names: Iterable[str]) -> set[str]:
    """A test and its repeats: ``25C_HWFET_a`` and ``_b`` are one."""
    stem = name[:-2] if name[-2:] in ("_a", "_b", "_c") else name
    return {other for other in names if other in (name, stem) or other[:-2] == stem}


def _cases(train: Folder, test: Folder) -> Iterator[tuple[str, Drive, Ecm]]:
    """``(name, test, circuit)`` of all drives to be run."""
    fit = Fit(train)
    same = os.path.realpath(train.path) == os.path.realpath(test.path)
    drives = test.drives()
    if same and len(train.tests) == 1:
        whole = test.tests[drives[0]]
        late = whole["t_s"] - whole["t_s"][0] >= TRAIN_HOURS * 3600
        yield drives[0], cut(whole, late), fit.of(cut(whole, ~late))
        return
    everything = None if same else fit.without(())
    for name in drives:
        yield (
            name,
            test.tests[name],
            everything or fit.without(_twins(name, train.tests)),
        )


def _figures(runs: list[Run]) -> Figures:
    error = np.concatenate([run[0] for run in runs])
    sigma = np.concatenate([run[1] for run in runs])
    size = np.abs(error)
    return {
        "tests": len(runs),
        "updates": len(error),
        "rmse_pct": float(np.sqrt(np.mean(error**2))),
        "mae_pct": float(size.mean()),
        "p95_pct": float(np.quantile(size, 0.95)),
        "max_pct": float(size.max()),
        "coverage_pct": float(100 * np.mean(size <= 2 * sigma)),
        "half_width_pct": float(2 * sigma.mean()),
    }


def validate(
    train_path: str,
    test_path: str,
    noise: bool,
    capacity_off_pct: float = 0.0,
    traces: dict[float, plots.Trace] | None = None,
) -> dict[tuple[str, float], Figures]:
    """``{(start, group): figures}`` of one pair of folders.

    The filter is told the capacity of the training folder's reference, off by so many per cent.
    ``traces`` takes of each group one drive as the first device saw it.
    """
    train = Folder(train_path)
    test = train if os.path.realpath(train_path) == os.path.realpath(test_path) else None
    runs: dict[tuple[str, float], list[Run]] = {}
    rated_mah = round(train.capacity_ah() * (1000 + 10 * capacity_off_pct))
    for name, drive, ecm in _cases(train, test or Folder(test_path)):
        at = int(np.argmax(drive["soc"] < MIDDLE_SOC))
        below = drive["soc"][0] >= MIDDLE_SOC and at > 0
        late = cut(drive, slice(at, None))
        drawn = devices(noise, drive["capacity_ah"])
        if traces is not None and drive["group"] not in traces:
            z, sigma = trace(drive, ecm, rated_mah, drawn[0], -START_OFF_PCT)
            hours = (drive["t_s"] - drive["t_s"][0]) / 3600
            traces[drive["group"]] = (name, hours, 100 * drive["soc"], z, 2 * sigma)
        for device in drawn:
            for off in (-START_OFF_PCT, START_OFF_PCT):
                if drive["soc"][0] + off / 100 <= 1:
                    run = (*play(drive, ecm, rated_mah, device, off), name)
                    runs.setdefault(("start", drive["group"]), []).append(run)
                if below:
                    run = (*play(late, ecm, rated_mah, device, off), name)
                    runs.setdefault(("middle", drive["group"]), []).append(run)
    out: dict[tuple[str, float], Figures] = {}
    for key in sorted(runs, key=lambda k: (k[0] == "middle", -k[1])):
        used = [run for run in runs[key] if len(run[0])]
        if used:
            out[key] = _figures(used)
            out[key]["files"] = {
                name: round(_figures([r for r in used if r[2] == name])["rmse_pct"], 3)
                for name in sorted({r[2] for r in used})
            }
    if not out:
        raise DataError(f"{test_path}: no drive with time, current, voltage and soc_ref in it")
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--train", required=True, metavar="DIR", help="folder to fit to")
    parser.add_argument("--test", required=True, metavar="DIR", help="folder to try on")
    parser.add_argument("--noise", action="store_true", help="read with offsets of devices")
    parser.add_argument(
        "--capacity-off", type=float, default=0.0, metavar="PCT",
        help="tell the filter a capacity that is off by so much",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    plots.add_argument(parser)
    parser.add_argument(
        "--figure", metavar="START/GROUP/NAME", help="e.g. start/25/rmse_pct, printed last"
    )


def run(args: argparse.Namespace) -> int:
    """Print the figures; 1 when a folder cannot be used."""
    traces: dict[float, plots.Trace] | None = {} if args.plot else None
    try:
        plots.check(args.plot)
        found = validate(args.train, args.test, args.noise, args.capacity_off, traces)
    except (DataError, plots.PlotError) as error:
        print(error, file=sys.stderr)
        return 1
    flat = {f"{start}/{group:g}": figures for (start, group), figures in found.items()}
    if args.json:
        print(json.dumps(flat, indent=1))
    else:
        print(f"{'start/degC':>12} tests updates  RMSE   MAE   p95   max  cover  +-    (% of SOC)")
        for key, f in flat.items():
            print(
                f"{key:>12} {f['tests']:5d} {f['updates']:7d} {f['rmse_pct']:5.2f}"
                f" {f['mae_pct']:5.2f} {f['p95_pct']:5.2f} {f['max_pct']:5.2f}"
                f" {f['coverage_pct']:5.1f}% {f['half_width_pct']:4.1f}"
            )
    if traces:
        plots.soc(args.plot, os.path.basename(os.path.realpath(args.test)), traces, args.noise)
    if args.figure:
        start, group, name = ([*args.figure.split("/"), "", ""])[:3]
        value = flat.get(f"{start}/{group}", {}).get(name)
        if value is None:
            known = ", ".join(flat)
            print(f"--figure {args.figure}: not known (have {known})", file=sys.stderr)
            return 1
        print(f"figure: {value:.4g} {'%' if name.endswith('_pct') else ''}".rstrip())
    return 0
