"""Makes pulse models from recorded tests of cells whose capacity is known.

The features are the firmware's own (``firmware.estimators.pulse.features``); here is only what a
board never does: drawing sensors, solving for coefficients, choosing between candidates.

* **Sensors** are drawn per cell, not per reading: voltage offset uniform ±5 mV, gain of the
  current ±0.5 %, its offset ±C/1000, readings in whole mV and mA. Models are fitted to several
  such copies of each cell, so that they do not lean on what a chip cannot resolve.
* **Coefficients** are ridge regression over the copies.
* **Choice**: five-fold over the training cells, over three divisions, by their mean absolute
  and root mean square percentage error together. At any SOC one shape serves all kinds of cell
  and only the ridge is chosen: a choice of shape by some tens of cells is mostly chance. At a
  known SOC it is the simplest shape whose error is not above the least by more than a standard
  error over the cells (L. Breiman et al., Classification and Regression Trees, 1984, 3.4.3).
* **Error model**: absolute errors of the same folds, regressed on how unlike the typical cell a
  test is and on its voltage, and scaled to hold 95 % of them: by their quantile, or by their
  root mean square times Student's t for the number of cells, whichever is wider.

``python -m firmware.tools.fit_pulse --train DIR --out common/cells`` writes one module of numbers
for each kind of cell in DIR.
"""

import argparse
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.estimators.pulse import FEATURES, FIRST, MAIN, SHORT, PulseTest, features

Floats = NDArray[np.float64]

SEED = 20
KNOWN_SOC_BP = 5000
COPIES = 4
FOLDS = 5
REPEATS = 3
OFFSET_MV = 5.0
GAIN = 0.005
CURRENT_OFFSET_C = 0.001
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2)
_STEEPER = 3.0  # a product of features is held back this much more than a feature
_FREE = 0.01  # and the level this much less
_WIDE_CLIP = 8.0  # a line may reach further than a parabola
_SHORT_WIDTH_S = 1.0
_KNOTS = 5


@dataclass(frozen=True)
class PulseSet:
    """Tests of one kind of cell; R rows, one a cell and SOC."""

    name: str
    rated_mah: int
    charges: int  # pulses of a train
    discharges: int
    cell: NDArray[Any]  # R names
    soh: Floats  # R, points of rated capacity
    soc: Floats  # R, of rated capacity above empty
    odd: NDArray[np.bool_]  # R, a second test at one random SOC
    limit_mv: float  # the tester ended a charge pulse here
    main_mv: Floats  # R x turning points
    short_mv: Floats | None
    first_mv: Floats | None


@dataclass(frozen=True)
class Shape:
    """What a candidate model is made of."""

    used: tuple[int, ...]
    knots: int  # of the table; 0: a linear map
    clip: float = 3.0


def load(folder: Path) -> dict[str, PulseSet]:
    """All pulse sets below ``folder``, by name; ``ValueError`` when there is none."""
    sets = {}
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            if "u_v" in data.files and "capacity_ah" in data.files:
                one = _read(path.stem, data)
                sets[one.name] = one
    if not sets:
        raise ValueError(f"{folder}: no pulse tests (*.npz with u_v and capacity_ah) in it")
    return sets


def _read(stem: str, data: Any) -> PulseSet:
    u_mv = np.asarray(data["u_v"], dtype=np.float64) * 1000
    rated_ah = float(data["nominal_ah"])
    soh = np.asarray(data["capacity_ah"], dtype=np.float64) / rated_ah * 100
    soc = np.asarray(data["soc"], dtype=np.float64)
    cell = np.asarray(data["cell_id"])
    limit_mv = 3690.0 if stem.startswith("lfp") else 4290.0
    if "random_soc" in data.files:  # widths x rows x turning points
        widths = np.asarray(data["pulse_width_s"])
        short = int(np.argmin(abs(widths - _SHORT_WIDTH_S)))
        main, pulses = u_mv[-1], (u_mv.shape[2] - 1) // 4
        return PulseSet(
            f"{stem}_trains", round(rated_ah * 1000), (pulses + 1) // 2, pulses // 2, cell,
            soh, soc, np.asarray(data["random_soc"]) == 1, limit_mv, main, u_mv[short], u_mv[0],
        )  # fmt: skip
    tests, levels, turns = u_mv.shape
    pulses = (turns - 1) // 4
    rows = tests * levels
    return PulseSet(
        stem, round(rated_ah * 1000), (pulses + 1) // 2, pulses // 2, np.repeat(cell, levels),
        np.repeat(soh, levels), np.tile(soc, tests), np.zeros(rows, bool), limit_mv,
        u_mv.reshape(rows, turns), None, None,
    )  # fmt: skip


class Recorded:
    """Feeds a set, seen through drawn sensors, to the firmware."""

    def __init__(self, pulses: PulseSet, rng: np.random.Generator, *, noise: bool) -> None:
        self.pulses = pulses
        cells, of = np.unique(pulses.cell, return_inverse=True)
        width = 1.0 if noise else 0.0
        self._offset_mv = rng.uniform(-OFFSET_MV, OFFSET_MV, len(cells))[of] * width
        self._gain = 1 + rng.uniform(-GAIN, GAIN, len(cells))[of] * width
        rest_c = rng.uniform(-CURRENT_OFFSET_C, CURRENT_OFFSET_C, len(cells))[of] * width
        self._rest_ma = rest_c * pulses.rated_mah
        self._noise = noise
        count = pulses.charges + pulses.discharges
        rates = 0.5 * (1 + np.arange(count) // 2) * np.where(np.arange(count) % 2 == 0, 1, -1)
        self._pulse_ma = rates * pulses.rated_mah
        self.test = PulseTest(pulses.rated_mah, pulses.charges, pulses.discharges)

    def _mv(self, row: int, mv: Any) -> Any:
        return np.rint(mv + self._offset_mv[row]) if self._noise else mv

    def fill(self, row: int) -> PulseTest:
        """The test of one row, as the board would have recorded it."""
        pulses, test = self.pulses, self.test
        test.clear()
        for train, rows_mv in (
            (MAIN, pulses.main_mv),
            (SHORT, pulses.short_mv),
            (FIRST, pulses.first_mv),
        ):
            if rows_mv is None:
                continue
            test.u_mv[train][:] = array("f", self._mv(row, rows_mv[row]).tolist())
            test.have[train] = True
            rest_ma = self._rest_ma[row]
            at_ma = self._pulse_ma * self._gain[row] + rest_ma
            step_ma = np.rint(at_ma) - np.rint(rest_ma) if self._noise else at_ma
            cut = rows_mv[row, 2::4] >= pulses.limit_mv
            test.step_ma[train][:] = array("f", np.where(cut, 0, step_ma).tolist())
        return test

    def features(self) -> Floats:
        """R x features; NaN in a row whose currents make no sense."""
        out = np.zeros((len(self.pulses.soh), len(FEATURES)))
        row_of = array("f", bytes(4 * len(FEATURES)))
        for row in range(len(out)):
            out[row] = np.nan if features(self.fill(row), row_of) else row_of
        return out


def _hats(ocv_mv: Floats, knots: Floats) -> Floats:
    unit = np.eye(len(knots))
    return np.stack([np.interp(ocv_mv, knots, row) for row in unit], axis=1)


@dataclass(frozen=True)
class _Design:
    """Columns for a shape; how to scale features is learnt from the rows it is made with."""

    shape: Shape
    mean: Floats
    scale: Floats
    knots: Floats

    @staticmethod
    def learn(shape: Shape, found: Floats) -> "_Design":
        part = found[:, shape.used]
        ocv_mv = found[:, 0]
        shares = np.linspace(0.02, 0.98, shape.knots)
        knots = np.unique(np.quantile(ocv_mv, shares).round(1)) if shape.knots else np.zeros(0)
        knots = knots if len(knots) > 1 else np.zeros(0)
        scale = np.maximum(part.std(axis=0), 1e-3).astype(np.float32).astype(np.float64)
        mean = part.mean(axis=0).astype(np.float32).astype(np.float64)
        return _Design(shape, mean, scale, knots)

    def scaled(self, found: Floats) -> Floats:
        x = (found[:, self.shape.used] - self.mean) / self.scale
        return np.clip(x, -self.shape.clip, self.shape.clip)

    def columns(self, found: Floats) -> tuple[Floats, Floats]:
        """Columns and the ridge's weight of each."""
        x = self.scaled(found)
        if not len(self.knots):
            return np.c_[np.ones(len(x)), x], np.r_[_FREE, np.ones(x.shape[1])]
        rest = x[:, 1:]
        first, second = np.triu_indices(rest.shape[1])
        products = rest[:, first] * rest[:, second]
        hats = _hats(found[:, 0], self.knots)
        table = hats[:, :, None] * np.c_[np.ones(len(x)), rest][:, None, :]
        one = np.r_[_FREE, np.ones(rest.shape[1])]
        weights = np.r_[np.full(len(first), _STEEPER), np.tile(one, len(self.knots))]
        return np.c_[products, table.reshape(len(x), -1)], weights


@dataclass(frozen=True)
class Fit:
    """A fitted model and what the choice cost."""

    data: tuple[Any, ...]
    shape: Shape
    ridge: float
    inner_loss: float


def shapes(pulses: PulseSet, *, known_soc: bool, slow: bool = False) -> list[Shape]:
    """The candidates, simplest first; ``slow``: without what is read within 10 ms of an edge."""
    resistance = (15,) if slow else (1, 2)
    before = (10, 11, 16, 17) if slow else (9, 10, 11, 13, 14)  # the best of the earlier trains
    base = (0, *resistance, 3, 4, 5, 6, 7, 8)
    if known_soc:
        sets = [(0, resistance[0], 6), base]
        if pulses.short_mv is not None:
            sets.append((*base, *before))
        return [Shape(s, 0, _WIDE_CLIP) for s in sets]
    if pulses.short_mv is not None:
        return [Shape((0, *resistance, 3, 6, 7, 8, *before), _KNOTS)]
    return [Shape(base, _KNOTS)]


def _folds(cell: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int_]:
    cells, of = np.unique(cell, return_inverse=True)
    fold = np.empty(len(cells), int)
    fold[rng.permutation(len(cells))] = np.arange(len(cells)) % min(count, len(cells))
    result: NDArray[np.int_] = fold[of]
    return result


def fit(
    pulses: PulseSet,
    copies: list[Floats],
    rows: NDArray[np.bool_],
    *,
    known_soc_bp: int = -1,
    slow: bool = False,
) -> Fit:
    """Fit a model to ``rows`` of a set; ``copies`` are their features, each R x features."""
    if known_soc_bp >= 0:
        rows = rows & ~pulses.odd & (abs(pulses.soc * 10000 - known_soc_bp) < 50)
    rows = rows & np.isfinite(np.sum(copies, axis=0)).all(axis=1)
    rng = np.random.default_rng(1)
    folds = [_folds(pulses.cell[rows], FOLDS, rng) for _ in range(REPEATS)]
    truth = pulses.soh[rows]
    found = np.concatenate([copy[rows] for copy in copies])
    if not len(truth):
        raise ValueError(f"{pulses.name}: no rows to fit")
    _, of = np.unique(pulses.cell[rows], return_inverse=True)
    tried = []
    for shape in shapes(pulses, known_soc=known_soc_bp >= 0, slow=slow):
        columns, weights = _Design.learn(shape, found).columns(found)
        scored = []
        for ridge, guess in _cross(columns, weights, truth, folds, len(copies)):
            scored.append(_Tried(shape, ridge, guess, *_loss((guess - truth) / truth * 100, of)))
        tried.append(min(scored, key=lambda one: one.loss))
    best = _simplest(tried)
    shape, ridge, guess, loss = best.shape, best.ridge, best.guess, best.loss
    design = _Design.learn(shape, found)
    columns, weights = design.columns(found)
    target = np.tile(truth, len(copies))
    gram = columns.T @ columns + ridge * len(target) * np.diag(weights)
    solved = np.linalg.solve(gram, columns.T @ target)
    error, common = _error_model(
        np.tile(design.scaled(copies[0][rows]), (REPEATS, 1)),
        (guess - truth).ravel(),
        np.tile(pulses.cell[rows], REPEATS),
    )
    ocv_mv = found[:, 0]
    recorded = np.ascontiguousarray(pulses.main_mv[rows].astype(np.float32))
    data = (
        pulses.name, pulses.rated_mah, (pulses.charges, pulses.discharges), known_soc_bp,
        shape.used, _floats(design.mean), _floats(design.scale), shape.clip,
        _floats(design.knots), _floats(solved),
        _floats(np.array([ocv_mv.min(), ocv_mv.max(), truth.min() - 8, truth.max() + 8])),
        _floats(error), round(float(common), 3), zlib.crc32(truth.astype(np.float32).tobytes(),
        zlib.crc32(recorded.tobytes())),
    )  # fmt: skip
    return Fit(data, shape, ridge, loss)


@dataclass(frozen=True)
class _Tried:
    shape: Shape
    ridge: float
    guess: Floats  # repeats x rows, by models that had not the row's cell
    loss: float
    by_cell: Floats  # what each cell adds to the loss


def _loss(error: Floats, of: NDArray[np.int_]) -> tuple[float, Floats]:
    """Mean absolute and root mean square error together, and what each cell adds to them."""
    rms = float(np.sqrt((error**2).mean()))
    each = (abs(error) + error**2 / (2 * rms) + rms / 2).mean(axis=0)  # its mean is the loss
    return float(each.mean()), np.bincount(of, each) / len(of)


def _simplest(tried: list[_Tried]) -> _Tried:
    """The first whose loss is within a standard error, over the cells, of the least."""
    best = min(tried, key=lambda one: one.loss)

    def near(one: _Tried) -> bool:
        worse = one.by_cell - best.by_cell
        return one.loss - best.loss <= float(worse.std() * np.sqrt(len(worse)))

    return next(filter(near, tried))


def _floats(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values)


def _cross(
    columns: Floats, weights: Floats, truth: Floats, folds: list[NDArray[np.int_]], copies: int
) -> list[tuple[float, Floats]]:
    """For each ridge, each row's prediction (repeats x rows) by models that had not its cell."""
    target = np.tile(truth, copies)
    gram, side = columns.T @ columns, columns.T @ target
    guesses = np.zeros((len(_RIDGES), len(folds), len(truth)))
    first = columns[: len(truth)]
    for repeat, fold in enumerate(folds):
        everywhere = np.tile(fold, copies)
        for k in range(int(fold.max()) + 1):
            part = columns[everywhere == k]
            inner, right = gram - part.T @ part, side - part.T @ target[everywhere == k]
            held = fold == k
            for r, ridge in enumerate(_RIDGES):
                system = inner + np.diag(ridge * (len(target) - len(part)) * weights)
                guesses[r, repeat, held] = first[held] @ np.linalg.solve(system, right)
    return list(zip(_RIDGES, guesses, strict=True))


def _error_model(x: Floats, error: Floats, cell: NDArray[Any]) -> tuple[Floats, float]:
    """Numbers of the half-width, and the share of the error's variance that is the cell's."""
    size = abs(error)
    t = x[:, 0]
    terms = np.stack([np.ones(len(t)), np.sqrt((x**2).mean(axis=1)), t, t * t], axis=1)
    cells, of = np.unique(cell, return_inverse=True)
    single = len(t) == REPEATS * len(cells)  # one test a cell: too few for more than two terms
    count = 2 if single else 4
    solved = np.zeros(4)
    solved[:count] = np.linalg.lstsq(terms[:, :count], size, rcond=None)[0]
    floor = 0.5 * size.mean()
    shape = np.maximum(floor, terms @ solved)
    odds = size / shape
    spread = _student(len(cells) - 1) * float(np.sqrt((odds**2).mean()))
    factor = max(spread, float(np.quantile(odds, 0.95)))  # tails may be heavier than normal
    if single:
        return factor * np.r_[floor, solved], 1.0
    mean = np.bincount(of, error) / np.bincount(of)
    rows = np.bincount(of).mean()
    between = max(0.0, float(mean.var() - error.var() / rows) * rows / max(1.0, rows - 1))
    common = min(1.0, between / float(error.var()))
    return factor * np.r_[floor, solved], common


def _student(cells: int) -> float:
    """Student's t that holds 95 %: few cells know the spread less well.

    M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 1964, 26.7.5.
    """
    return 1.96 + 2.372 / cells + 2.822 / cells**2


def source(pulses: PulseSet, made: dict[str, Fit]) -> str:
    """A module with the models of one kind of cell, by the name each gets in it."""
    lines = [
        f'"""Pulse models of {pulses.name}, from {len(np.unique(pulses.cell))} retired cells.',
        "",
        "Recorded by S. Tao et al., Nature Communications 15 (2024) 10154, MIT licence. Made by",
        "``firmware.tools.fit_pulse``; read by ``firmware.estimators.pulse.PulseModel``.",
        "``MODEL`` takes a test at any SOC, ``MODEL_AT_HALF`` after half the rated charge from",
        "empty, ``MODEL_SLOW`` any SOC on a board that cannot read within 10 ms of an edge.",
        '"""',
        "",
    ]
    for name, one in made.items():
        lines.append(f"{name} = (")
        for value in one.data:
            text = repr(value)
            if isinstance(value, tuple) and len(text) > 90:
                lines.append("    (")
                row = "       "
                for item in value:
                    if len(row) + len(repr(item)) > 96:
                        lines.append(row)
                        row = "       "
                    row += f" {item!r},"
                lines += [row, "    ),"]
            else:
                lines.append(f"    {text},".replace("'", '"'))
        lines += [")  # fmt: skip", ""]
    return "\n".join(lines)


def models(pulses: PulseSet) -> dict[str, Fit]:
    """All models of one kind of cell, by the name each gets in a module."""
    rng = np.random.default_rng(SEED)
    copies = [Recorded(pulses, rng, noise=True).features() for _ in range(COPIES)]
    rows = np.ones(len(pulses.soh), bool)
    return {
        "MODEL": fit(pulses, copies, rows),
        "MODEL_AT_HALF": fit(pulses, copies, rows, known_soc_bp=KNOWN_SOC_BP),
        "MODEL_SLOW": fit(pulses, copies, rows, slow=True),
    }


def main() -> int:
    """Fit all sets of a folder and write their modules."""
    parser = argparse.ArgumentParser(description="fit pulse models")
    parser.add_argument("--train", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    for name, pulses in load(args.train).items():
        made = models(pulses)
        path = args.out / f"pulse_{name}.py"
        path.write_text(source(pulses, made), encoding="utf-8")
        print(path, *(f"{key} {one.inner_loss:.2f}" for key, one in made.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
