"""``echelon validate pulse``: SOH from pulse tests of cells the model has not seen.

With the same folder for training and test each physical cell is left out in turn (or fifths of
them, ``--folds 5``); else cells of the test folder are taken out of the training. Shape, ridge
and error model are chosen inside the training cells only. Every figure comes from
the firmware's ``PulseSoh`` fed the recorded voltages as the chip would read them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.estimators.pulse import PulseModel, PulseSoh
from firmware.tools import plots, validate_resistance
from firmware.tools.fit_pulse import (
    COPIES,
    KNOWN_SOC_BP,
    SEED,
    Fit,
    Floats,
    PulseSet,
    Recorded,
    fit,
    load,
)

HELP = "check the state of health from pulses on recorded cells"
_GRID_TOP = 0.505  # the figures stand for 5..50 % SOC, as published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="cells to fit")
    parser.add_argument("--test", type=Path, required=True, metavar="DIR", help="cells to judge")
    parser.add_argument("--noise", action="store_true", help="offsets, gain and steps of a chip")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--folds", type=int, default=0, help="parts of cells (0: each cell)")
    parser.add_argument("--slow", action="store_true", help="no reading within 10 ms of an edge")
    parser.add_argument("--only", metavar="NAME", help="only sets whose name starts with this")
    parser.add_argument(
        "--resistance", type=Path, metavar="DIR", help="also refer recorded steps to 25 degC"
    )
    parser.add_argument("--figure", action="store_true", help="end with the worst MAPE")
    plots.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Validate and print; 0, or 1 when nothing could be judged."""
    points: dict[str, plots.Floats] = {}
    try:
        plots.check(args.plot)
        train, test = load(args.train), load(args.test)
    except (ValueError, plots.PlotError) as error:
        print(error, file=sys.stderr)
        return 2
    same = args.train.resolve() == args.test.resolve()
    results = []
    for name, pulses in test.items():
        if args.only and not name.startswith(args.only):
            continue
        if name not in train:
            print(f"{args.train}: no pulse tests called {name!r}, left out", file=sys.stderr)
            continue
        if not same and np.isin(train[name].cell, pulses.cell).all():
            print(
                f"{args.train}: all cells of {name!r} are in the test, left out", file=sys.stderr
            )
            continue
        results += judge(
            train[name], pulses, same=same, noise=args.noise, folds=args.folds, slow=args.slow,
            points=points,
        )  # fmt: skip
        if not args.json:
            for result in results[-3:]:
                if result["set"] == name:
                    print(line(result), flush=True)
    if not results:
        print(f"{args.test}: nothing to judge", file=sys.stderr)
        return 1
    resistances = validate_resistance.judge(args.resistance) if args.resistance else []
    if args.json:
        found = {"noise": args.noise, "sets": results, "resistance": resistances}
        print(json.dumps(found, indent=2))
    else:
        for resistance in resistances:
            print(validate_resistance.line(resistance))
    if args.plot:
        plots.pulse(args.plot, points, args.noise)
    if args.figure:
        worst = max(r["mape"] for r in results if r["task"] == "random SOC")
        print(f"figure: {worst:.3f} %")
    return 0


def judge(
    train: PulseSet,
    test: PulseSet,
    *,
    same: bool,
    noise: bool,
    folds: int = 0,
    slow: bool = False,
    points: dict[str, Floats] | None = None,
) -> list[dict[str, Any]]:
    """Figures of one set: at random SOC, at 50 % known SOC, and at SOC beyond the grid.

    ``points`` takes true SOH, estimate and half-width of the tests at random SOC, 3 x tests.
    """
    rng = np.random.default_rng(SEED)
    copies = [Recorded(train, rng, noise=True).features() for _ in range(COPIES)]
    shown = Recorded(test, rng, noise=noise)
    random = _Out(len(test.soh))
    known = _Out(len(test.soh))
    for cells in parts(test.cell, folds if same else 1):
        held = np.isin(test.cell, cells)
        rows = ~np.isin(train.cell, cells)
        random.take(fit(train, copies, rows, slow=slow), shown, held)
        at_half = held & ~test.odd & (abs(test.soc * 10000 - KNOWN_SOC_BP) < 50)
        if at_half.any():
            known.take(
                fit(train, copies, rows, known_soc_bp=KNOWN_SOC_BP, slow=slow), shown, at_half
            )
    grid = ~test.odd & (test.soc < _GRID_TOP)
    if points is not None:
        points[test.name] = np.stack([test.soh, random.soh, random.half])[:, grid]
    out = [random.figures(test, grid, "random SOC")]
    if known.judged.any():
        out.append(known.figures(test, known.judged, "known SOC 50 %"))
    if (~grid).any():
        out.append(random.figures(test, ~grid, "other SOC and second tests"))
    return out


def parts(cell: NDArray[Any], folds: int) -> list[NDArray[Any]]:
    """The cells, in as many parts as asked for; 0: each by itself."""
    cells = np.unique(cell)
    cells = cells[np.random.default_rng(SEED).permutation(len(cells))]
    return [cells[k :: folds or len(cells)] for k in range(min(folds or len(cells), len(cells)))]


class _Out:
    def __init__(self, rows: int) -> None:
        self.soh = np.full(rows, np.nan)
        self.half = np.full(rows, np.nan)
        self.judged = np.zeros(rows, bool)
        self.chosen: dict[str, int] = {}
        self.coefficients = 0

    def take(self, made: Fit, shown: Recorded, rows: NDArray[np.bool_]) -> None:
        pulse = PulseSoh(PulseModel(made.data))
        shape = made.shape
        key = f"{len(shape.used)} features, {shape.knots} knots"
        self.chosen[key] = self.chosen.get(key, 0) + 1
        self.coefficients = max(self.coefficients, len(pulse.model.coefficients))
        for row in np.flatnonzero(rows).tolist():
            self.judged[row] = True
            if pulse.estimate(shown.fill(row)) and pulse.soh_bp is not None:
                self.soh[row] = pulse.soh_bp / 100
                self.half[row] = pulse.half

    def figures(self, test: PulseSet, rows: NDArray[np.bool_], task: str) -> dict[str, Any]:
        had = rows & np.isfinite(self.soh)
        error: Floats = self.soh[had] - test.soh[had]
        size = abs(error)
        return {
            "set": test.name,
            "task": task,
            "cells": len(np.unique(test.cell[rows])),
            "updates": int(had.sum()),
            "share": float(had.sum() / rows.sum()),
            "mape": float((size / test.soh[had]).mean() * 100),
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(size.mean()),
            "p95": float(np.quantile(size, 0.95)),
            "max": float(size.max()),
            "coverage": float((size <= self.half[had]).mean()),
            "half_width": float(self.half[had].mean()),
            "coefficients": self.coefficients,
            "chosen": max(self.chosen, key=lambda key: self.chosen[key]),
        }


def line(r: dict[str, Any]) -> str:
    """One result as a line."""
    return (
        f"{r['set']:22s} {r['task']:26s} {r['cells']:3d} cells {r['updates']:4d} tests"
        f" {r['share']:4.0%}  MAPE {r['mape']:5.2f} %  RMSE {r['rmse']:5.2f}  MAE {r['mae']:5.2f}"
        f"  p95 {r['p95']:5.2f}  max {r['max']:5.2f}  coverage {r['coverage']:6.1%}"
        f"  half-width {r['half_width']:5.2f}  ({r['chosen']}, {r['coefficients'] * 4} B)"
    )


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=HELP)
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
