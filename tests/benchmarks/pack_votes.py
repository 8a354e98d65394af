"""Judges the firmware's figures on random packs: does the interval hold the truth?

A pack is asked at several random moments and has one vote per figure: its answer at one of the
moments at which there was an answer, drawn at random. Votes of different packs are independent.
Another figure to be judged is another line of ``FIGURES``. Five are pooled into one; what is made
of them is judged beside them.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pack_truth
from pack_draw import Draw, draw_pack
from pack_run import Run, settings_of

from common.codes import Method, SocSync
from firmware.estimators.energy import POWER_S
from firmware.estimators.estimators import Estimators

USED_S = 5 * 3600


def _names(codes: type) -> dict[int, str]:
    return {getattr(codes, name): name.lower() for name in dir(codes) if name.isupper()}


_METHODS = _names(Method)
_SYNCS = _names(SocSync)

Interval = tuple[float, float, float]


@dataclass
class Question:
    """What a figure is asked with: the pack, its board, and the cell in question."""

    run: Run
    figures: Estimators
    cell: int
    known_s: float | None  # when the board first knew its SOC


@dataclass
class Vote:
    """One pack's answer; what it is about is in the figure's unit."""

    figure: str
    pack: int
    kind: str
    by: str  # method or chemistry of the evidence
    value: float
    low: float
    high: float
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the truth lies inside."""
        return self.low <= self.truth <= self.high

    @property
    def z(self) -> float:
        """The error in deviations, two of which are the interval's half on that side."""
        off = self.truth - self.value
        half = self.high - self.value if off > 0 else self.value - self.low
        return 2 * off / half if half > 0 else math.copysign(9.9, off)


def _soc(q: Question) -> Interval | None:
    e = q.figures
    if e.soc_bp is None or e.soc_lo_bp is None or e.soc_hi_bp is None:
        return None
    return e.soc_bp / 100, e.soc_lo_bp / 100, e.soc_hi_bp / 100


def _soc_used(q: Question) -> Interval | None:
    known_s = q.known_s
    return None if known_s is None or q.run.time_s - known_s < USED_S else _soc(q)


def _soc_truth(q: Question) -> float:
    """Of the mean cell; what fits in beyond full (LFP held at 3.6 V) counts as full."""
    return 100 * min(1.0, max(0.0, float(np.mean(q.run.cells.soc))))


def _pack_soh(q: Question) -> Interval | None:
    e = q.figures
    if e.soh_bp is None or e.soh_lo_bp is None or e.soh_hi_bp is None:
        return None
    return e.soh_bp / 100, e.soh_lo_bp / 100, e.soh_hi_bp / 100


def _pack_soh_truth(q: Question) -> float:
    return 100 * float(np.min(q.run.cells.soh))


def _cell_soh(q: Question) -> Interval | None:
    e = q.figures
    if not e.soh.known(q.cell):
        return None
    value, low, high = e.soh.interval(q.cell, e.now_s)
    return value / 100, low / 100, high / 100


def _cell_soh_truth(q: Question) -> float:
    return 100 * float(q.run.cells.soh[q.cell])


def _cell_resistance(q: Question) -> Interval | None:
    """Against the truth, so that packs of any size compare: percent."""
    figure = q.figures.resistance.interval(q.cell)
    if figure is None:
        return None
    scale = 100 / _one_second_uohm(q)
    return figure[0] * scale, figure[1] * scale, figure[2] * scale


def _one_second_uohm(q: Question) -> float:
    """1 s resistance at 25 degC and mid SOC, micro-ohm."""
    kind, cells = q.run.draw.kind, q.run.cells
    soon = kind.r0_ohm_ah + kind.r1_ohm_ah * (1 - math.exp(-1 / kind.tau1_s))
    return 1e6 * soon * float(cells.resistance[q.cell] / cells.rated_ah[q.cell])


def _difference(q: Question) -> Interval | None:
    """Points of rated, against the mean cell."""
    differences = q.figures.differences
    if not differences.known:
        return None
    value, low, high = differences.interval(q.cell)
    return value / 100, low / 100, high / 100


def _difference_truth(q: Question) -> float:
    cells = q.run.cells
    room = (1 - cells.soc) * cells.soh
    return 100 * float(np.mean(room) - room[q.cell])


def _scaled(told: Interval | None, scale: float) -> Interval | None:
    return None if told is None else (told[0] * scale, told[1] * scale, told[2] * scale)


def _remaining(q: Question) -> Interval | None:
    return _scaled(q.figures.remaining_wh(), _per_rated_wh(q))


def _remaining_truth(q: Question) -> float:
    run = q.run
    current_a = q.figures.energy.current_ma / 1000
    wh = pack_truth.remaining_wh(run.cells, current_a, _empty_v(q), run.draw.ambient_c)
    return wh * _per_rated_wh(q)


def _per_rated_wh(q: Question) -> float:
    """Percent of what a new pack of this kind would hold at its mean voltage, by the Wh."""
    volts = float(np.mean(q.run.draw.kind.rested_v(np.linspace(0, 1, 101))))
    return 100 / (q.run.draw.rated_ah * q.run.draw.n_cells * volts)


def _empty_v(q: Question) -> float:
    return settings_of(q.run.draw).profile.cell_empty_mv / 1000


def _power(soc: float) -> Callable[[Question], Interval | None]:
    """Against the truth, percent."""

    def asked(q: Question) -> Interval | None:
        told = q.figures.energy.power(round(10000 * soc))
        return None if told is None else _scaled(told, 100 / _power_w(q, soc))

    return asked


def _power_w(q: Question, soc: float) -> float:
    most_a = settings_of(q.run.draw).ocd_ma / 1000
    return pack_truth.power_w(q.run.cells, soc, POWER_S, _empty_v(q), most_a)


def _soc_method(q: Question) -> str:
    return _SYNCS[q.figures.soc_sync]


def _pack_method(q: Question) -> str:
    return _METHODS[q.figures.soh_method]


def _cell_method(q: Question) -> str:
    return _METHODS[q.figures.soh.method[q.cell]]


@dataclass
class Figure:
    """A figure: what the board says, what is true, and by what it was found."""

    name: str
    asked: Callable[[Question], Interval | None]
    truth: Callable[[Question], float]
    by: Callable[[Question], str]
    pooled: bool = True


FIGURES = (
    Figure("soc", _soc, _soc_truth, _soc_method),
    Figure("soc_after_5h", _soc_used, _soc_truth, _soc_method),
    Figure("pack_soh", _pack_soh, _pack_soh_truth, _pack_method),
    Figure("cell_soh", _cell_soh, _cell_soh_truth, _cell_method),
    Figure("cell_resistance", _cell_resistance, lambda _q: 100.0, lambda _q: "step"),
    Figure("remaining_energy", _remaining, _remaining_truth, _pack_method, pooled=False),
    Figure("cell_difference", _difference, _difference_truth, _soc_method, pooled=False),
    Figure("power_80", _power(0.8), lambda _q: 100.0, lambda _q: "step", pooled=False),
    Figure("power_20", _power(0.2), lambda _q: 100.0, lambda _q: "step", pooled=False),
)


class Hearing:
    """Feeds one pack's snapshots to the estimators and keeps what they answer when asked."""

    def __init__(self, pack: int, draw: Draw, rng: np.random.Generator) -> None:
        self.pack = pack
        self.draw = draw
        self.estimators = Estimators(settings_of(draw))
        self._rng = rng
        self._known_s: float | None = None
        self.answers: dict[str, list[Vote]] = {figure.name: [] for figure in FIGURES}

    def ask(self, run: Run) -> None:
        """Keep an answer of each figure there is now, for a cell drawn at random."""
        if self._known_s is None and self.estimators.soc_bp is not None:
            self._known_s = run.time_s
        cell = int(self._rng.integers(self.draw.n_cells))
        q = Question(run, self.estimators, cell, self._known_s)
        for figure in FIGURES:
            told = figure.asked(q)
            if told is not None:
                self.answers[figure.name].append(
                    Vote(
                        figure.name, self.pack, self.draw.kind.name, figure.by(q), *told,
                        truth=figure.truth(q),
                    )
                )  # fmt: skip

    def votes(self) -> list[Vote]:
        """One answer of each figure that had any."""
        return [
            answers[int(self._rng.integers(len(answers)))]
            for answers in self.answers.values()
            if answers
        ]


def votes_of(seed: int, pack: int, hours: float = 6.0) -> list[Vote]:
    """Draw a pack, live its day of about ``hours``, and let it vote."""
    rng = np.random.default_rng([seed, pack])
    draw = draw_pack(rng, hours)
    hearing = Hearing(pack, draw, np.random.default_rng([seed, pack, 1]))
    Run(draw, rng, hearing.estimators.update, hearing.ask).day()
    return hearing.votes()


def pooled(votes: Iterable[Vote]) -> list[Vote]:
    """Those of the pooled figure."""
    names = [figure.name for figure in FIGURES if figure.pooled]
    return [vote for vote in votes if vote.figure in names]


@dataclass
class Score:
    """What the votes of one figure, or of a part of them, come to."""

    votes: int
    holds_pct: float
    half_width: float
    rmse: float
    z_rms: float
    z_mean: float


def score(votes: Iterable[Vote]) -> Score:
    """Of at least one vote."""
    chosen = list(votes)
    z = np.array([vote.z for vote in chosen]).clip(-9.9, 9.9)
    return Score(
        len(chosen),
        100 * sum(vote.holds for vote in chosen) / len(chosen),
        float(np.mean([(vote.high - vote.low) / 2 for vote in chosen])),
        math.sqrt(float(np.mean([(vote.value - vote.truth) ** 2 for vote in chosen]))),
        math.sqrt(float(np.mean(z**2))),
        float(np.mean(z)),
    )
