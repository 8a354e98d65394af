"""Fits charge windows to recorded cells: which marks, which coefficients, and how wrong they are.

Everything is chosen inside the cells given. Candidates of three marks are fitted with one cell
left out at a time (blocks of time where there is one cell only) and judged on that cell, seen by
devices with errors of their own; the smallest error wins. Where it was not passed, because aged
cells start above its first mark, a further window is chosen for those charges alone.

Charges are read through the firmware's own ``ChargeWindow``, given a fine grid of marks.
"""

from typing import Any

import numpy as np

from firmware.estimators.window import ChargeWindow, WindowModel
from firmware.snapshot import Snapshot
from firmware.tools.bench import feed, measured, spread_devices
from firmware.tools.datasets import Cell, DataError

Array = np.ndarray[Any, Any]
GRID_MV = tuple(range(3600, 4180, 20))
TAPER_PERMILLE = 100
TRAIN_DEVICES = 6
WORST = 0.015  # of rated: a window less certain than this on unseen cells is not used
MOST_WINDOWS = 4
ENOUGH = 0.97  # of the charges seen: no further window is wanted
LOWEST = 0.40  # of rated: below, a cell teaches nothing about one of use
_USED = 0.03  # of the charges: fewer do not make a window
_PRIMARY = 0.8  # share of the charges that the first window must see
_RIDGE = 1e-4
_BEND = 3e-2
_NEAR = 1.10  # errors this close are chance: of such windows the one that begins lowest
_UNENDED = 1.3  # a window that ends under load must be better by this to be preferred
_WIDER = 2.0  # by which share of s^2 extrapolating may always widen the variance
_WALK = 1.5  # times what capacity moved by: less would lag behind faster fade
_MEDIAN = 1.4826 / 2**0.5  # median of changes to the deviation of what changes
_BLOCKS = 5  # of a cell's life, left out in turn where no other cell is like it
_LIMIT = 8.0  # times the training rows' leverage: beyond it a charge is refused
_WIDTHS_MV = (40, 60, 80, 120, 160, 240)
_TOPS_MV = (4060, 4100, 4160)
_LEVEL = 0.2  # of the mean square error at least is the same at all capacities
_SAME_K = 2.0  # temperatures that differ less teach no coefficient
_PER_CELL = 60.0  # independent charges that a cell's many are worth
_FULL_STEP_MV = 50
_NO_DEGREES = -273.0
_UPPER = np.triu_indices(7)


class Seen:
    """What a set of cells showed: rows of charges, seen by all training devices."""

    def __init__(self, cells: "list[Cell]") -> None:
        if not cells:
            raise DataError("no cells to calibrate on")
        self.rate_permille, self.full_mv = _protocol(cells)
        seen_by = spread_devices(TRAIN_DEVICES)
        model = WindowModel(
            GRID_MV, TAPER_PERMILLE, self.rate_permille, self.full_mv, (0, 0), 0.0, 0.0, ()
        )
        at, y, degrees, group, order, device_of, cycles = [], [], [], [], [], [], []
        for g, cell in enumerate(cells):
            rated_mah = round(cell.nominal_ah * 1000)
            snapshot = Snapshot(1)
            for d, device in enumerate(seen_by):
                window = ChargeWindow(1, rated_mah, model)
                total = 0.0
                for n, charge in enumerate(cell.charges):
                    total += charge.cycles
                    ended = feed(window, measured(charge, cell.nominal_ah, device), snapshot)
                    if not charge.capacity_ah >= LOWEST * cell.nominal_ah:
                        continue
                    row = np.array(window.at_uah, float) / (rated_mah * 1000.0)
                    told = ended and window.degrees > _NO_DEGREES
                    at.append(np.where(row < 0, np.nan, row) if told else row * np.nan)
                    y.append(charge.capacity_ah / cell.nominal_ah)
                    degrees.append(window.degrees)
                    group.append(g)
                    order.append(n / len(cell.charges))
                    device_of.append(d)
                    cycles.append(total)
        if not y:
            raise DataError("none of the charges to calibrate on is labelled with a capacity")
        self.at = np.array(at)
        self.y = np.array(y)
        self.degrees = np.array(degrees)
        self.group = np.array(group)
        self.order = np.array(order)
        self.device = np.array(device_of)
        self.cycles = np.array(cycles)
        self.block = np.minimum((self.order * _BLOCKS).astype(int), _BLOCKS - 1)

    def only(self, groups: "list[int]") -> "Seen":
        """The same, of some of the cells."""
        part = object.__new__(Seen)
        keep = np.isin(self.group, groups)
        part.rate_permille, part.full_mv = self.rate_permille, self.full_mv
        for name in ("at", "y", "degrees", "group", "order", "device", "block", "cycles"):
            setattr(part, name, getattr(self, name)[keep])
        return part


def _protocol(cells: "list[Cell]") -> "tuple[int, int]":
    """``(rate in permille of C, end-of-charge voltage)`` that most of the charges have."""
    rates, tops = [], []
    for cell in cells:
        for charge in cell.charges[:: max(1, len(cell.charges) // 20)]:
            middle = (charge.voltage_v > 3.7) & (charge.voltage_v < 4.1)
            middle &= charge.current_a > 0.05 * cell.nominal_ah
            if middle.any():
                rates.append(float(np.median(charge.current_a[middle])) / cell.nominal_ah)
                tops.append(float(charge.voltage_v.max()) * 1000)
    if not rates:
        raise DataError("none of the cells shows a charge between 3.7 and 4.1 V")
    top = round(float(np.median(tops)) / _FULL_STEP_MV) * _FULL_STEP_MV
    return round(float(np.median(rates)) * 100) * 10, top


class _Fit:
    """One candidate, fitted to rows; weights make cells of few charges count."""

    def __init__(self, a: Array, b: Array, degrees: Array, y: Array, weight: Array) -> None:
        total = weight.sum()
        columns = (a, b, degrees)
        self.centre = [float((weight * c).sum() / total) for c in columns]
        spread = [
            float(np.sqrt((weight * (c - m) ** 2).sum() / total))
            for c, m in zip(columns, self.centre, strict=True)
        ]
        self.with_t = spread[2] > _SAME_K
        self.scale = [max(s, 1e-3) for s in spread[:2]] + [spread[2] if self.with_t else 10.0]
        x = self.x(a, b, degrees)
        gram = (x * weight[:, None]).T @ x / total
        ridge = np.array((0.0, _RIDGE, _RIDGE, _BEND, _BEND, _BEND, _BEND))
        if not self.with_t:
            gram[6, :] = gram[:, 6] = 0.0
            ridge[6] = 1.0
        self.inverse = np.linalg.inv(gram + np.diag(ridge))
        self.k = self.inverse @ ((x * weight[:, None]).T @ y / total)
        if not self.with_t:
            self.k[6] = 0.0
            self.inverse[6, 6] = 0.0

    def x(self, a: Array, b: Array, degrees: Array) -> Array:
        a = (a - self.centre[0]) / self.scale[0]
        b = (b - self.centre[1]) / self.scale[1]
        t = (degrees - self.centre[2]) / self.scale[2]
        return np.stack((np.ones_like(a), a, b, a * a, a * b, b * b, t), axis=1)

    def leverage(self, a: Array, b: Array, degrees: Array) -> Array:
        x = self.x(a, b, degrees)
        return np.asarray(np.einsum("ni,ij,nj->n", x, self.inverse, x))


def _several(seen: Seen) -> bool:
    return len(np.unique(seen.group)) > 1


def _weights(seen: Seen, rows: Array, wanted: Array) -> Array:
    """Between every charge and every cell counting the same; four-fold where it will be used."""
    weight = np.where(wanted, 1.0, 0.25)
    for g in np.unique(seen.group):
        mine = rows & (seen.group == g)
        if mine.any():
            weight[seen.group == g] /= np.sqrt(mine.sum())
    return weight


def _held_out(seen: Seen, marks: "tuple[int, int, int]", wanted: Array):  # type: ignore[no-untyped-def]
    """``(rows used, errors there)`` of a candidate, each on cells that its fit has not seen."""
    a = seen.at[:, marks[1]] - seen.at[:, marks[0]]
    b = seen.at[:, marks[2]] - seen.at[:, marks[1]]
    rows = np.isfinite(a) & np.isfinite(b)
    errors = np.full(len(a), np.nan)
    weight = _weights(seen, rows, wanted)
    degrees, y = seen.degrees, seen.y
    fits = _several(seen)
    for g in np.unique(seen.group):
        mine = rows & (seen.group == g)
        if not mine.any():
            continue
        parts = [seen.group == g] if fits else []
        parts += [(seen.group == g) & (seen.block == k) for k in range(_BLOCKS)]
        for part in parts:
            fit_on = rows & ~part
            judge = mine & part
            if fit_on.sum() < 40 or not judge.any():
                continue
            fit = _Fit(a[fit_on], b[fit_on], degrees[fit_on], y[fit_on], weight[fit_on])
            known = fit.leverage(a[fit_on], b[fit_on], degrees[fit_on])
            x = fit.leverage(a[judge], b[judge], degrees[judge])
            like = x < _LIMIT * np.quantile(known, 0.995)
            guess = fit.x(a[judge], b[judge], degrees[judge]) @ fit.k
            errors[np.flatnonzero(judge)[like]] = (guess - y[judge])[like]
            if len(parts) > _BLOCKS and part is parts[0] and like.mean() > 0.5:
                break  # other cells are enough like it: the honest judgement
    return rows, errors


def _candidates(seen: Seen) -> "list[tuple[int, int, int]]":
    tops = [GRID_MV.index(mv) for mv in _TOPS_MV]
    if np.isfinite(seen.at[:, -1]).mean() > 0.5:
        tops.append(len(GRID_MV))
    found = []
    for first in range(len(GRID_MV)):
        for width in _WIDTHS_MV:
            middle = first + width // 20
            found += [(first, middle, top) for top in tops if middle + 2 < top]
    return found


def _judge(seen: Seen, errors: Array) -> float:
    """Root mean square over cells of their own root mean squares: each cell counts the same."""
    total, n = 0.0, 0
    for g in np.unique(seen.group):
        mine = errors[(seen.group == g) & np.isfinite(errors)]
        if len(mine):
            total += float(np.mean(mine**2))
            n += 1
    return float(np.sqrt(total / max(n, 1)))


def _robust(errors: Array) -> float:
    """The deviation that covers both the root mean square and the 95th percentile.

    A single odd charge (begun half full, or a label that is off) counts as four deviations.
    """
    size = np.abs(errors)
    two = float(np.quantile(size, 0.95))
    return max(float(np.sqrt(np.mean(np.minimum(size, 2 * two) ** 2))), two / 2)


def fit_windows(seen: Seen) -> "tuple":  # type: ignore[type-arg]
    """The table of a ``WindowModel`` for what was seen (``window.from_table``)."""
    wanted = np.ones(len(seen.y), bool)
    chosen: list[tuple[tuple[int, int, int], Array, Array]] = []
    first = 0.0
    candidates = _candidates(seen)
    seen_share = np.isfinite(seen.at)
    while len(chosen) < MOST_WINDOWS and wanted.mean() > 1 - ENOUGH:
        scored = []
        for marks in candidates:
            usable = wanted & seen_share[:, marks[0]] & seen_share[:, marks[2]]
            least = _PRIMARY if not chosen else 0.5 * wanted.mean()
            if usable.mean() < max(least, _USED):
                continue
            rows, errors = _held_out(seen, marks, wanted)
            there = np.where(wanted, errors, np.nan)
            if (rows & wanted).mean() < max(least, _USED) or not np.isfinite(there).any():
                continue
            # few charges would choose at random: half of the judgement is by all
            score = float(np.hypot(_judge(seen, errors), _judge(seen, there)))
            score *= 1.0 if marks[2] == len(GRID_MV) else _UNENDED
            scored.append((score, marks, there))
        if not scored:
            break
        near = (1.0 if chosen else _NEAR) * min(one[0] for one in scored)
        best = min((one for one in scored if one[0] <= near), key=lambda one: one[1])
        worst = _robust(best[2][np.isfinite(best[2])])
        if chosen and worst > max(WORST, 1.5 * first):
            break
        first = first if chosen else worst
        chosen.append((best[1], wanted.copy(), best[2]))
        wanted &= ~(np.isfinite(seen.at[:, best[1][0]]) & np.isfinite(seen.at[:, best[1][2]]))
    if not chosen:
        raise DataError("no window is passed by enough of the charges to calibrate on")
    return _table(seen, chosen)


def _table(seen: Seen, chosen) -> "tuple":  # type: ignore[no-untyped-def,type-arg]
    """Fit the chosen windows to all rows and write them as numbers."""
    used = sorted({mark for marks, _wanted, _errors in chosen for mark in marks})
    taper = len(GRID_MV) in used
    edges = [mark for mark in used if mark < len(GRID_MV)]
    n_cells = len(np.unique(seen.group))
    windows = []
    warm = []
    least = 0.0
    for marks, wanted, errors in chosen:
        a = seen.at[:, marks[1]] - seen.at[:, marks[0]]
        b = seen.at[:, marks[2]] - seen.at[:, marks[1]]
        rows = np.isfinite(a) & np.isfinite(b)
        weight = _weights(seen, rows, wanted)
        fit = _Fit(a[rows], b[rows], seen.degrees[rows], seen.y[rows], weight[rows])
        there = np.isfinite(errors)
        common = _common(seen, errors)
        floor, rise, end = _spread(seen, errors)
        at = seen.y[there] + errors[there]
        s = _robust(errors[there] / np.hypot(floor, rise * (at - end)))
        # what two cells cannot show of a third; more were each judged by a fit to one less
        few = 1 + 1 / n_cells if n_cells < 3 else 1 - 1 / n_cells**2
        s = max(least, s * float(np.sqrt(1 - common + common * few)))
        least = least or s  # no fall-back is better than what it stands in for
        leverage = fit.leverage(a[rows], b[rows], seen.degrees[rows])
        worth = _PER_CELL * n_cells
        own = wanted[rows]
        mean_fit = min(float(leverage[own].mean()) / worth, 0.5)
        limit = max(_LIMIT * float(np.quantile(leverage[own], 0.995)) / worth, _WIDER) * s * s
        # (rise (C - end))^2 is a square in x like that of the fit: they share a matrix
        grows = s * rise * (fit.k - end * (np.arange(7) == 0))
        matrix = fit.inverse * (s * s / worth) + np.outer(grows, grows)
        limit += float(((fit.x(a[rows], b[rows], seen.degrees[rows]) @ grows) ** 2).max())
        index = tuple(len(edges) if m == len(GRID_MV) else edges.index(m) for m in marks)
        windows.append(
            (
                index,
                tuple(float(v) for v in fit.centre),
                tuple(float(v) for v in fit.scale),
                tuple(float(v) for v in fit.k),
                s * floor * float(np.sqrt(1 - mean_fit)),
                tuple(float(v) for v in matrix[_UPPER]),
                limit,
            )
        )
        warm += [seen.degrees[rows].min(), seen.degrees[rows].max()]
    return (
        tuple(GRID_MV[mark] for mark in edges),
        TAPER_PERMILLE if taper else 0,
        seen.rate_permille,
        seen.full_mv,
        (round(float(min(warm)) * 10), round(float(max(warm)) * 10)),
        *_motion(seen, chosen[0][2]),
        tuple(windows),
    )


def _spread(seen: Seen, errors: Array) -> "tuple[float, float, float]":
    """``(floor, rise, end)``: errors go as ``hypot(floor, rise * (C - end))``, mean square 1.

    From one end of the capacities, where cells err least, to the other; by least squares of the
    squared errors, each cell counting the same.
    """
    there = np.flatnonzero(np.isfinite(errors))
    square = errors[there] ** 2
    at = seen.y[there] + errors[there]
    weight = 1 / np.bincount(seen.group[there])[seen.group[there]]
    weight /= weight.sum()
    best = (float(weight @ square**2) - float(weight @ square) ** 2, 1.0, 0.0, 0.0)
    mean = float(weight @ square)
    for share in (0.02, 0.98):
        end = float(np.quantile(at, share))
        far = (at - end) ** 2
        typical = float(weight @ far)
        slope = float(weight @ ((far - typical) * square)) / float(weight @ (far - typical) ** 2)
        slope = min(slope, (1 - _LEVEL) * mean / typical)
        if slope <= 0:
            continue
        level = mean - slope * typical
        rest = float(weight @ (square - level - slope * far) ** 2)
        if rest < best[0]:
            best = (rest, float(np.sqrt(level / mean)), float(np.sqrt(slope / mean)), end)
    return best[1:]


def _motion(seen: Seen, errors: Array) -> "tuple[float, float]":
    """``(walk, scatter)`` in basis points.

    Walk: root mean square of the capacity's change from charge to charge, for one cycle.
    Scatter: of the errors, by the median of their changes, so that neither what a cell keeps nor
    single odd charges count.
    """
    squares = cycles = 0.0
    changes = []
    for g in np.unique(seen.group):
        for d in np.unique(seen.device):
            mine = np.flatnonzero((seen.group == g) & (seen.device == d))
            mine = mine[np.isfinite(errors[mine])]
            if len(mine) < 3:
                continue
            squares += float(np.sum(np.diff(seen.y[mine]) ** 2)) / len(mine)
            cycles += float(np.sum(np.diff(seen.cycles[mine]))) / len(mine)
            changes.append(float(np.median(np.abs(np.diff(errors[mine])))))
    if not changes:
        return 50.0, 20.0
    walk = _WALK * float(np.sqrt(squares / max(cycles, 1e-9)))
    return walk * 10000, _MEDIAN * float(np.sqrt(np.mean(np.square(changes)))) * 10000


def _common(seen: Seen, errors: Array) -> float:
    """How much of the error's variance a cell on one device keeps from charge to charge."""
    total = float(np.nanmean(errors**2))
    kept = weight = 0.0
    for g in np.unique(seen.group):
        for d in np.unique(seen.device):
            mine = errors[(seen.group == g) & (seen.device == d) & np.isfinite(errors)]
            if len(mine) > 3:
                kept += float(mine.mean()) ** 2 * len(mine)
                weight += len(mine)
    return min(0.9, max(0.3, kept / max(weight, 1.0) / total))
