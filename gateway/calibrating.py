"""A board's calibration, from its readings beside those of a reference.

A point is what board and reference said at one time. The board's side is kept as its front end
measures, without the calibration that was in force, so that points of different days go together.

    >>> points = [Point.read(line, "points.jsonl") for line in lines]
    >>> fit(points, n_cells=16).current_gain_pct
    0.35
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.blocks import Decoded

# What tells a gain from an offset: readings that are so far apart.
APART_V = 0.3
APART_A = 2.0
ZERO_A = 0.05  # a reference that says no more says that nothing flows
N_TEMPERATURES = 4


@dataclass(frozen=True)
class Readings:
    """Of one side; ``None`` where it said nothing."""

    cell_v: list[float | None]
    stack_v: float | None = None
    current_a: float | None = None
    temp_c: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Calibration:
    """What is added to the readings; parts of the reading in %."""

    cell_gain_pct: float
    stack_gain_pct: float
    current_gain_pct: float
    current_offset_a: float
    temp_offset_c: list[float]
    cell_offset_v: list[float]

    @classmethod
    def of(cls, block: Decoded) -> Calibration:
        """The one in force, of the CALIBRATION model."""
        temps = [block[f"TmpOff{k}"] or 0.0 for k in range(1, N_TEMPERATURES + 1)]
        return cls(
            block["VGain"] or 0.0,
            block["StkGain"] or 0.0,
            block["AGain"] or 0.0,
            block["AOff"] or 0.0,
            temps,
            [cell["VOff"] or 0.0 for cell in block["cells"]],
        )

    def undo(self, seen: Readings) -> Readings:
        """``seen`` as the front end measured it."""

        def raw(value: float | None, gain_pct: float, offset: float = 0.0) -> float | None:
            return None if value is None else (value - offset) / (1 + gain_pct / 100)

        return Readings(
            [
                raw(v, self.cell_gain_pct, offset)
                for v, offset in zip(seen.cell_v, self.cell_offset_v, strict=True)
            ],
            raw(seen.stack_v, self.stack_gain_pct),
            raw(seen.current_a, self.current_gain_pct, self.current_offset_a),
            [
                raw(c, 0.0, offset)
                for c, offset in zip(seen.temp_c, self.temp_offset_c, strict=True)
            ],
        )


@dataclass(frozen=True)
class Point:
    """Board and reference at one time."""

    serial: str
    utc: str
    board: Readings
    reference: Readings

    @classmethod
    def read(cls, line: str, where: str) -> Point:
        """A line of a file of points; ``UserError`` when it is none."""
        try:
            found = json.loads(line)
            return cls(
                found["serial"],
                found["utc"],
                Readings(**found["board"]),
                Readings(**found["reference"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"echelon: {where}: no point of echelon provision point ({error})"
            ) from error

    def line(self) -> str:
        """The same as a line of a file."""
        return json.dumps(asdict(self))


def fit(points: Sequence[Point], n_cells: int, before: Calibration) -> Calibration:
    """The calibration that makes the board agree with the reference as well as it can.

    What no point has a reference of stays as ``before``. Least squares; a gain is told from an
    offset by points that are far enough apart, else a voltage has an offset alone, and a current
    has an offset where the reference says that none flows, a gain elsewhere.
    """
    cell_gain, cell_offset = _cells(points, n_cells, before)
    stack = _pairs((p.board.stack_v, p.reference.stack_v) for p in points)
    current = _pairs((p.board.current_a, p.reference.current_a) for p in points)
    temps = []
    for k in range(N_TEMPERATURES):
        pairs = _pairs((p.board.temp_c[k], _at(p.reference.temp_c, k)) for p in points)
        temps.append(
            float(np.mean(pairs[1] - pairs[0])) if pairs.size else before.temp_offset_c[k]
        )
    gain, offset = before.current_gain_pct, before.current_offset_a
    if current.size:
        gain, offset = _current(current, gain, offset)
    stack_gain = before.stack_gain_pct
    if stack.size:
        stack_gain = 100 * float(np.sum(stack[0] * stack[1]) / np.sum(stack[0] ** 2) - 1)
    return Calibration(cell_gain, stack_gain, gain, offset, temps, cell_offset)


def _cells(
    points: Sequence[Point], n_cells: int, before: Calibration
) -> tuple[float, list[float]]:
    """One gain for all cells, in %, and an offset for each."""
    each = [
        _pairs((_at(p.board.cell_v, k), _at(p.reference.cell_v, k)) for p in points)
        for k in range(n_cells)
    ]
    known = [pairs for pairs in each if pairs.size]
    gain = 0.0 if known else before.cell_gain_pct / 100
    if any(np.ptp(pairs[0]) >= APART_V for pairs in known):
        over = [pairs[0] - np.mean(pairs[0]) for pairs in known]
        wrong = [pairs[1] - pairs[0] - np.mean(pairs[1] - pairs[0]) for pairs in known]
        squares = sum(float(np.sum(o * o)) for o in over)
        gain = sum(float(np.sum(o * w)) for o, w in zip(over, wrong, strict=True)) / squares
    offsets = [
        float(np.mean(pairs[1] - pairs[0] * (1 + gain))) if pairs.size else before.cell_offset_v[k]
        for k, pairs in enumerate(each)
    ]
    return 100 * gain, offsets


def _current(pairs: Any, gain_pct: float, offset_a: float) -> tuple[float, float]:
    board, reference = pairs
    still = np.abs(reference) <= ZERO_A
    if np.ptp(board) >= APART_A:
        slope, start = np.polyfit(board, reference, 1)
        return 100 * (float(slope) - 1), float(start)
    if still.all():
        return gain_pct, float(np.mean(reference - board * (1 + gain_pct / 100)))
    wanted = reference - offset_a
    return 100 * float(np.sum(board * wanted) / np.sum(board * board) - 1), offset_a


def _pairs(pairs: Any) -> Any:
    """Two rows, board and reference, of the points at which both said something."""
    known = [pair for pair in pairs if None not in pair]
    return np.array(known, dtype=float).T


def _at(values: Sequence[float | None], k: int) -> float | None:
    return values[k] if k < len(values) else None
