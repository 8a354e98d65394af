"""``echelon validate soh``: capacity from the charges of cells that the calibration has not seen.

For every test cell the windows are chosen and fitted on the training cells with another
``cell_id``: with the same folder for both, one physical cell is left out at a time. The test
cell's charges then run through the firmware's ``ChargeWindow`` and ``Soh``, as read by devices
with errors of their own (``--noise``), which stay the same for all charges of a device.

Two figures are given: each charge judged alone, and the stream, in which ``Soh`` fuses the
charges of the cell one after the other as the board does. No label of the test cell is used, nor
what the board itself sees of full discharges.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from common.codes import Refusal, names
from firmware.estimators.soh import Soh
from firmware.estimators.window import ChargeWindow, WindowModel, from_table
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from firmware.tools import plots
from firmware.tools.bench import Device, devices, feed, measured
from firmware.tools.datasets import Cell, DataError, load_cells
from firmware.tools.fit_windows import Seen, fit_windows
from firmware.tools.profile_file import rounded

EXIT_USER_ERROR = 2
TEST_SEED = 7
# error, half-width of the interval, truth (all SOH points), number of the cycle
Point = tuple[float, float, float, int]
_SHUNT_UOHM = 500
_HOUR_S = 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "folder of recorded cells, or of such folders"
    parser.add_argument("--train", required=True, metavar="DIR", help=text)
    parser.add_argument("--test", required=True, metavar="DIR", help=text)
    parser.add_argument("--noise", action="store_true", help="devices with errors of their own")
    parser.add_argument("--devices", type=int, default=5, metavar="N", help="with --noise (5)")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the devices' errors")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    plots.add_argument(parser)
    parser.add_argument(
        "--figure", choices=["rmse", "mae", "p95", "max", "share", "coverage", "half_width"],
        help="the last line is this figure of all charges, judged alone",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Validate every set and print the figures."""
    points: dict[str, dict[str, list[Point]]] | None = {} if args.plot else None
    try:
        plots.check(args.plot)
        results = validate(
            args.train, args.test, args.noise, max(1, args.devices), args.seed, points
        )
    except (DataError, plots.PlotError) as error:
        print(f"echelon: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for name, result in results.items():
            _show(name, result)
    for name, cells in (points or {}).items():
        plots.soh(plots.file_of(args.plot, name, points), name, cells, args.noise)
    if args.figure:
        worst = [result["single"][args.figure] for result in results.values()]
        least = args.figure in ("share", "coverage")
        unit = "%" if least else "SOH points"
        print(f"figure: {min(worst) if least else max(worst)} {unit}")
    return 0


def validate(
    train: str,
    test: str,
    noise: bool,
    n_devices: int,
    seed: int = TEST_SEED,
    points: "dict[str, dict[str, list[Point]]] | None" = None,
) -> "dict[str, dict]":  # type: ignore[type-arg]
    """``{set: figures}``; ``DataError`` where nothing can be judged.

    ``points`` takes what the first device said of each charge, by set and cell.
    """
    results = {}
    for name, train_dir, test_dir in _pairs(Path(train), Path(test)):
        boards = devices(n_devices, seed) if noise else [Device()]
        shown: dict[str, list[Point]] = {}
        results[name] = _one_set(load_cells(train_dir), load_cells(test_dir), boards, shown)
        if points is not None:
            points[name] = shown
    return results


def _pairs(train: Path, test: Path) -> "list[tuple[str, Path, Path]]":
    """Folders that belong together: the two named, or those of one name within them."""
    if any(test.glob("*.npz")):
        return [(test.name, train, test)]
    found = []
    for folder in sorted(test.glob("*")):
        try:
            if (
                any(folder.glob("*.npz"))
                and load_cells(folder)
                and load_cells(train / folder.name)
            ):
                found.append((folder.name, train / folder.name, folder))
        except DataError:
            continue  # holds recordings of another kind
    if not found:
        raise DataError(f"{test}: holds no recorded cells with charges (name a folder of .npz)")
    return found


def _one_set(  # type: ignore[no-untyped-def]
    train: "list[Cell]",
    test: "list[Cell]",
    boards: "list[Device]",
    points: "dict[str, list[Point]]",
):
    seen = Seen(train)
    models: dict[tuple[int, ...], WindowModel] = {}
    single, stream, per_cell = [], [], {}
    total = 0
    refusals: dict[str, int] = {}
    for cell in test:
        groups = tuple(g for g, known in enumerate(train) if known.name != cell.name)
        if not groups:
            raise DataError(f"{cell.name}: is the only training cell (add other cells to --train)")
        if groups not in models:
            models[groups] = from_table(rounded(fit_windows(seen.only(list(groups)))))
        mine = []
        for board in boards:
            alone, fused, charges = _run_cell(cell, models[groups], board, refusals)
            mine += alone
            points.setdefault(cell.name, alone)
            stream += fused
            total += charges
        single += mine
        per_cell[cell.name] = _figures(mine, len(boards) * _labelled(cell))
    return {
        "cells": len(test),
        "charges": total,
        "updates": len(single),
        "single": _figures(single, total),
        "stream": _figures(stream, total),
        "refusals": refusals,
        "per_cell": per_cell,
    }


def _labelled(cell: Cell) -> int:
    return sum(not np.isnan(charge.capacity_ah) for charge in cell.charges)


def _run_cell(cell: Cell, model: WindowModel, board: Device, refusals: "dict[str, int]"):  # type: ignore[no-untyped-def]
    """``(alone, fused, labelled charges)``; the former are lists of ``Point``."""
    rated_mah = round(cell.nominal_ah * 1000)
    window = ChargeWindow(1, rated_mah, model)
    settings = Settings("validate", 1, "lco", rated_mah)
    settings.shunt_uohm = _SHUNT_UOHM
    soh = Soh(settings)
    snapshot = Snapshot(1)
    alone, fused = [], []
    charges = 0
    reasons = names(Refusal)
    now_s = 0
    for charge in cell.charges:
        now_s += int(charge.cycles * 3 * _HOUR_S)
        soh.fec_centi += int(charge.cycles * 100)
        window.refusal = Refusal.NO_EVIDENCE
        ended = feed(window, measured(charge, cell.nominal_ah, board), snapshot)
        found = window.evidence(0) if ended else None
        if found is not None:
            soh.window(0, found, window.walk_bp, now_s)
            soh.windows_done(now_s)
        if np.isnan(charge.capacity_ah):
            continue
        charges += 1
        truth = charge.capacity_ah / cell.nominal_ah * 100
        if found is None:
            why = reasons[window.refusal]
            refusals[why] = refusals.get(why, 0) + 1
            continue
        half = 2 * found[1] ** 0.5 / 100
        alone.append((found[0] / 100 - truth, half, truth, charge.cycle))
        value, low, high = soh.interval(0, now_s)
        fused.append((value / 100 - truth, (high - low) / 200, truth, charge.cycle))
    return alone, fused, charges


def _figures(rows: "list[Point]", total: int) -> "dict[str, float]":
    """Errors in SOH points; shares in percent."""
    if not rows:
        return {"share": 0.0}
    error = np.abs(np.array([row[0] for row in rows]))
    half = np.array([row[1] for row in rows])
    signed = float(np.mean([row[0] for row in rows]))
    figures = {
        "share": 100 * len(rows) / total,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(error.mean()),
        "bias": signed,
        "p95": float(np.quantile(error, 0.95)),
        "max": float(error.max()),
        "coverage": 100 * float((error <= half).mean()),
        "half_width": float(half.mean()),
    }
    return {key: round(value, 3) for key, value in figures.items()}


def _show(name: str, result: "dict") -> None:  # type: ignore[type-arg]
    print(f"{name}: {result['cells']} cells, {result['charges']} charges, "
          f"{result['updates']} updates")  # fmt: skip
    print(f"  {'':14}{'share %':>9}{'RMSE':>7}{'MAE':>7}{'p95':>7}{'max':>7}"
          f"{'cover %':>9}{'half':>7}")  # fmt: skip
    rows = {"single charge": result["single"], "stream, fused": result["stream"]}
    rows.update(result["per_cell"])
    for label, f in rows.items():
        if "rmse" not in f:
            print(f"  {label:14}{f['share']:9.1f}  no estimate")
            continue
        print(
            f"  {label:14}{f['share']:9.1f}{f['rmse']:7.2f}{f['mae']:7.2f}{f['p95']:7.2f}"
            f"{f['max']:7.2f}{f['coverage']:9.1f}{f['half_width']:7.2f}"
        )
    for why, count in result["refusals"].items():
        print(f"  refused {count} times: {why}")
