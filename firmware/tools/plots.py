"""``--plot FILE`` of ``echelon validate``: the estimates with their intervals against the truth.

Needs matplotlib (the extra ``plots``). Points are told apart by shape and fill as well as by
colour: a filled one is within its interval, a cross is not.
"""

import argparse
import importlib.util
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Trace = tuple[str, Floats, Floats, Floats, Floats]  # name; hours; true SOC, SOC, half-width in %

_BLUE = "#0072B2"  # M. Okabe, K. Ito: told apart by all kinds of sight
_ORANGE = "#D55E00"
_BAND = "#9ecae1"
_MOST = 1500  # points a panel: more is ink
_DPI = 80


class PlotError(ValueError):
    """No plot can be made; the message says why and the way out."""


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--plot``."""
    parser.add_argument(
        "--plot", metavar="FILE", help="draw estimates and truth (.png, .svg, .pdf); see docs"
    )


def check(path: "str | None") -> None:
    """Raise ``PlotError`` before the work begins if its plot could not be written."""
    if path is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError("--plot: needs matplotlib (pip install 'echelon-bms[plots]')")
    if os.path.splitext(path)[1] not in (".png", ".svg", ".pdf"):
        raise PlotError(f"--plot {path}: must end with .png, .svg or .pdf")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise PlotError(f"--plot {path}: {folder} is no folder")


def file_of(path: str, name: str, several: "Any") -> str:
    """``path``, with the set's name in it where there are several sets."""
    stem, kind = os.path.splitext(path)
    return path if len(several) == 1 else f"{stem}_{name}{kind}"


def _panels(count: int, title: str, x: str, y: str) -> "tuple[Any, list[Any]]":
    from matplotlib.figure import Figure  # noqa: PLC0415  (an extra; slow to import)

    columns = min(3, count) if count != 4 else 2
    rows = -(-count // columns)
    size = (max(7.5, 3.4 * columns), max(4.2, 2.6 * rows + 1.0))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supylabel(y, fontsize=10)
    for k, ax in enumerate(axes[:count]):
        if k + columns >= count:
            ax.set_xlabel(x, fontsize=9)
        ax.grid(color="0.9", linewidth=0.6)
        ax.tick_params(labelsize=8)
    return figure, axes[:count]


def _finish(figure: "Any", ax: "Any", path: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False
    )
    figure.savefig(path, dpi=_DPI)


def _held(error: Floats, half: Floats) -> str:
    return f"{100 * np.mean(np.abs(error) <= half):.0f} % held"


def _seen_by(noise: bool) -> str:
    return "a sensor with errors of its own" if noise else "a sensor without error"


def soh(
    path: str, name: str, cells: "dict[str, list[tuple[float, float, float, int]]]", noise: bool
) -> None:
    """One panel a cell: each charge alone, over the cycles; rows as ``validate_soh.Point``."""
    title = f"{name}: SOH of unseen cells, each charge judged alone, {_seen_by(noise)}"
    figure, axes = _panels(len(cells), title, "cycle, or curve",
                           "SOH (% of rated capacity)")  # fmt: skip
    for ax, (cell, points) in zip(axes, cells.items(), strict=True):
        if not points:
            ax.set_title(f"{cell}: no estimate", fontsize=9)
            continue
        error, half, truth, cycle = np.array(points, float).T
        order = np.argsort(cycle)
        error, half, truth, cycle = error[order], half[order], truth[order], cycle[order]
        value = truth + error
        gap = max(5.0, 4 * float(np.median(np.diff(cycle)))) if len(cycle) > 1 else 5.0
        for part in np.split(np.arange(len(cycle)), np.flatnonzero(np.diff(cycle) > gap) + 1):
            ax.fill_between(
                cycle[part], (value - half)[part], (value + half)[part], color=_BAND,
                linewidth=0.8, label="95 % interval" if part[0] == 0 else None,
            )  # fmt: skip
        ax.plot(cycle, value, ".", color=_BLUE, markersize=2.5, label="estimate")
        ax.plot(cycle, truth, color="black", linewidth=1.0, label="measured capacity")
        out = np.abs(error) > half
        ax.plot(cycle[out], value[out], "x", color=_ORANGE, markersize=4, label="outside")
        rmse = float(np.sqrt(np.mean(error**2)))
        ax.set_title(f"{cell}: RMSE {rmse:.2f}, {_held(error, half)}", fontsize=9)
    _finish(figure, axes[0], path)


def soc(path: str, name: str, traces: "dict[float, Trace]", noise: bool) -> None:
    """One panel a temperature: a drive over time, started 10 % too low."""
    title = f"{name}: SOC of unseen drives, started 10 % too low,\n{_seen_by(noise)}"
    figure, axes = _panels(len(traces), title, "time (h)", "SOC (%)")
    for ax, (group, (drive, *all_points)) in zip(
        axes, sorted(traces.items(), reverse=True), strict=True
    ):
        points = np.stack(all_points)
        held = _held(points[2] - points[1], points[3])
        hours, truth, value, half = points[:, :: max(1, points.shape[1] // _MOST)]
        ax.fill_between(
            hours, value - half, value + half, color=_BAND, linewidth=0, label="95 % interval"
        )
        ax.plot(hours, value, color=_BLUE, linewidth=1.2, label="estimate")
        ax.plot(hours, truth, color="black", linewidth=1.0, linestyle="--", label="reference")
        ax.set_title(f"{group:g} °C, {drive}: {held}", fontsize=9)
    _finish(figure, axes[0], path)


def pulse(path: str, sets: "dict[str, Floats]", noise: bool) -> None:
    """One panel a set: estimate over true SOH; rows are truth, estimate, half-width."""
    title = f"SOH of unseen cells from one pulse test at a random SOC, {_seen_by(noise)}"
    figure, axes = _panels(len(sets), title, "measured SOH (% of rated capacity)",
                           "estimated SOH (%)")  # fmt: skip
    for ax, (name, all_points) in zip(axes, sets.items(), strict=True):
        points = all_points[:, np.isfinite(all_points[1])]
        held = _held(points[1] - points[0], points[2])
        truth, value, half = points[:, :: max(1, points.shape[1] // 300)]
        out = np.abs(value - truth) > half
        low, high = float(truth.min()) - 1, float(truth.max()) + 1
        ax.plot(
            [low, high], [low, high], color="black", linewidth=1.0, label="estimate = measured"
        )
        ax.errorbar(
            truth, value, half, fmt="none", ecolor=_BAND, elinewidth=0.8, label="95 % interval"
        )
        ax.plot(truth[~out], value[~out], ".", color=_BLUE, markersize=3, label="estimate")
        ax.plot(truth[out], value[out], "x", color=_ORANGE, markersize=4, label="outside")
        ax.set_title(f"{name}: {held}", fontsize=9)
    _finish(figure, axes[0], path)
