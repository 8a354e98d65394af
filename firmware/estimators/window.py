"""Capacity of each cell from the charge that passes between marks of one constant-current charge.

A mark is a cell voltage passed on the way up or, as the last one, the end of the charge: the
current tapered to ``taper_ma`` at constant voltage. Charge is counted in whole micro-ampere-hours
from the start of the charge; where a mark lies between two samples it is interpolated. A window
is three marks. With ``a`` and ``b`` the charge between first and second and between second and
third mark, as fractions of rated, centred and scaled, and ``t`` the temperature likewise,

    x = (1, a, b, a^2, a b, b^2, t)
    C = k . x                                     (fraction of rated)
    sigma^2 = s^2 + x' M x + (0.003 * kelvins outside)^2 + (edges moved)^2

``k``, ``s`` and ``M`` come with the cell's profile (``echelon calibrate``): ``s`` is the error on
cells that the fit had not seen, ``M`` the uncertainty of the fit itself, which grows as the
charge looks less like those it was made from, and what cells err more at one end of the
capacities, a square in ``C`` and so in ``x``. A charge too far from all of them is refused, as is
one at another rate or temperature. Edges are moved by the resistance times the difference between
the current and the one of calibration, at a cost: three quarters of the move, times the charge
for a millivolt at the first mark, are its deviation.

The estimate is a regression on incremental charge (dQ/dV integrated over a window): C. Weng et
al., J. Power Sources 235 (2013) 36; the end of charge as a mark takes out most of what growing
resistance does to windows under load.

    >>> window = ChargeWindow(n_cells=1, rated_mah=1100, model=model)
    >>> if window.update(snapshot):  # a charge has ended
    ...     window.evidence(0)  # (capacity_bp, variance_bp2, of that not common to charges)

State: for each cell 4 bytes a mark and 3 more.
"""

from array import array

from common.codes import Refusal
from common.mp import const
from firmware.snapshot import UNKNOWN_DC, Snapshot

_IDLE = const(0)
_CC = const(1)
_CV = const(2)
_SETTLE_MS = const(30000)  # a voltage this soon after the current began is still moving
_PAUSE_MS = const(600000)  # between constant current and constant voltage
_GAP_MS = const(180000)  # nothing is known of what passed in between
_NEAR_MV = const(25)  # below full: here constant current may give way to constant voltage
_STEADY = const(20)  # parts of the current by which it may move
_SHIFT_MV = const(30)  # by which resistance may move an edge
_UNSEEN = const(-1)
_MOVED = const(0.75)  # of such a move: its error, for resistance is more than that of a second
_PER_K = const(0.003)  # of capacity: what a kelvin outside the calibrated range may do
_LEAST = const(0.45)  # of rated: calibration leaves out cells that hold less than 0.40
_MOST = const(1.3)
_FAR_K = const(12)  # outside of it: refused


class Window:
    """A calibrated window: what three marks tell of the capacity. Numbers from ``calibrate``."""

    def __init__(
        self,
        marks: "tuple[int, int, int]",
        centre: "tuple[float, ...]",
        scale: "tuple[float, ...]",
        k: "tuple[float, ...]",
        s: float,
        m: "tuple[float, ...]",
        limit: float,
    ) -> None:
        self.marks = marks  # indices into the model's marks
        self.centre = centre  # of a, b, and degC
        self.scale = scale
        self.k = k  # 7: fraction of rated
        self.s = s  # deviation on unseen cells, fraction of rated
        self.m = m  # 28: upper triangle of M, row by row
        self.limit = limit  # of x' M x

    def estimate(self, a: float, b: float, degrees: float) -> "tuple[float, float]":
        """``(capacity, variance of the fit)`` for two throughputs, all fractions of rated."""
        c, s = self.centre, self.scale
        a = (a - c[0]) / s[0]
        b = (b - c[1]) / s[1]
        t = (degrees - c[2]) / s[2]
        x = (1.0, a, b, a * a, a * b, b * b, t)
        k = self.k
        m = self.m
        value = fit = 0.0
        at = 0
        for i in range(7):
            value += k[i] * x[i]
            row = 0.5 * m[at] * x[i]
            at += 1
            for j in range(i + 1, 7):
                row += m[at] * x[j]
                at += 1
            fit += 2 * row * x[i]
        return value, fit


class WindowModel:
    """All windows of one kind of cell, best first, and what they were calibrated for.

    ``marks_mv`` rise; with ``taper_permille`` of rated (0: none) the end of charge follows them
    as one more mark.
    """

    def __init__(
        self,
        marks_mv: "tuple[int, ...]",
        taper_permille: int,
        rate_permille: int,
        full_mv: int,
        warm_dc: "tuple[int, int]",
        walk_bp: float,
        scatter_bp: float,
        windows: "tuple[Window, ...]",
    ) -> None:
        self.marks_mv = array("H", marks_mv)
        self.taper_permille = taper_permille
        self.rate_permille = rate_permille
        self.full_mv = full_mv
        self.warm_dc = warm_dc
        self.walk_bp = walk_bp  # by which capacity moves in one cycle, standard deviation
        self.scatter_bp = scatter_bp  # of estimates of one cell about their common error
        self.windows = windows


def from_table(table: "tuple") -> WindowModel:  # type: ignore[type-arg]
    """The model in a generated table: ``WindowModel``'s arguments, windows as tuples."""
    marks, taper, rate, full, warm, walk, scatter, windows = table
    made = [Window(w[0], w[1], w[2], w[3], w[4], w[5], w[6]) for w in windows]
    return WindowModel(marks, taper, rate, full, warm, walk, scatter, tuple(made))


class ChargeWindow:
    """Watches the charges of one string and keeps what passed at each mark of each cell."""

    def __init__(self, n_cells: int, rated_mah: int, model: WindowModel) -> None:
        self._n = n_cells
        self._rated_mah = rated_mah
        self._model = model
        self._n_edges = len(model.marks_mv)
        self._n_marks = self._n_edges + (1 if model.taper_permille else 0)
        self._rate_ma = model.rate_permille * rated_mah // 1000
        self._taper_ma = model.taper_permille * rated_mah // 1000
        self.at_uah = array("i", [_UNSEEN] * (n_cells * self._n_marks))
        self._next = array("B", bytes(n_cells))  # mark each cell comes to next
        self._back_mv = array("h", bytes(2 * n_cells))
        self._state = _IDLE
        self._uah = 0
        self._ms = 0
        self._pause_ms = 0
        self._ref_ma = self._back_ma = 0
        self._warm_dc = UNKNOWN_DC
        self._high_mv = 0
        self._shift_mv = 0  # by which the charge's current moved the edges
        self.r_uohm = 0  # typical resistance of a cell, for charges at another current
        self.walk_bp = model.walk_bp
        self.refusal = Refusal.NO_EVIDENCE

    def update(self, s: Snapshot) -> bool:
        """Take a valid snapshot; whether a charge has ended that may tell something."""
        current_ma = s.current_ma
        if self._state == _IDLE:
            self._back_ma = current_ma
            if current_ma > self._rate_ma // 2:
                self._begin(s)
            return False
        if s.dt_ms > _GAP_MS and self._state == _CC:
            return self._end(s)
        back_uah = self._uah
        self._uah = back_uah + s.delta_uah
        self._ms += s.dt_ms
        if self._state == _CC:
            slack_ma = self._ref_ma // _STEADY
            if self._ref_ma - slack_ma <= current_ma <= self._ref_ma + slack_ma:
                self._edges(s, back_uah)
                if s.max_dc != UNKNOWN_DC:
                    self._warm_dc = (s.min_dc + s.max_dc) // 2
                return False
            if self._high_mv < self._model.full_mv - _NEAR_MV or current_ma > self._ref_ma:
                if self._ms < _SETTLE_MS:
                    self._begin(s)
                    return False
                return self._end(s)
            self._state = _CV
            self._pause_ms = 0
            if not self._taper_ma:
                return self._end(s)
        return self._taper(s, back_uah)

    def interrupt(self) -> None:
        """A cycle was lost: this charge tells no more."""
        self._state = _IDLE

    def _begin(self, s: Snapshot) -> None:
        current_ma = s.current_ma
        self._state = _CC if current_ma > self._rate_ma // 2 else _IDLE
        self._ref_ma = current_ma
        self._uah = 0
        self._ms = 0
        self._warm_dc = UNKNOWN_DC
        marks = self.at_uah
        i = 0
        while i < len(marks):
            marks[i] = _UNSEEN
            i += 1
        i = 0
        while i < self._n:
            self._next[i] = 0
            i += 1
        self._edges(s, 0)

    def _edges(self, s: Snapshot, back_uah: int) -> None:
        """Note the charge at every voltage that a cell has just passed."""
        edges = self._model.marks_mv
        n_edges = self._n_edges
        shift_mv = self.r_uohm * (s.current_ma - self._rate_ma) // 1000000
        settled = self._ms >= _SETTLE_MS
        passed_uah = self._uah - back_uah
        high_mv = 0
        i = 0
        while i < self._n:
            mv = s.cell_mv[i]
            high_mv = max(high_mv, mv)
            mv -= shift_mv
            k = self._next[i]
            back_mv = self._back_mv[i]
            while k < n_edges and mv >= edges[k]:
                if settled and back_mv < edges[k]:
                    part = passed_uah * (edges[k] - back_mv) // (mv - back_mv)
                    self.at_uah[i * self._n_marks + k] = back_uah + part
                k += 1
            self._next[i] = k
            self._back_mv[i] = mv
            i += 1
        self._high_mv = high_mv

    def _taper(self, s: Snapshot, back_uah: int) -> bool:
        """At constant voltage; whether this was the end of the charge."""
        current_ma = s.current_ma
        taper_ma = self._taper_ma
        back_ma = self._back_ma
        if current_ma < 0 and -current_ma > taper_ma // 4:
            return self._end(s)
        if current_ma > taper_ma // 2:
            self._pause_ms = 0
            self._back_ma = current_ma
            if current_ma > taper_ma:
                return False
            if taper_ma < back_ma <= 4 * taper_ma:
                part = (back_ma - taper_ma) * 1000 // (back_ma - current_ma)
                back_uah += (self._uah - back_uah) * part // 1000
                for i in range(self._n):
                    # a cell that never came near full was not at constant voltage
                    if self._back_mv[i] >= self._model.full_mv - _NEAR_MV:
                        self.at_uah[i * self._n_marks + self._n_edges] = back_uah
            return self._end(s)
        self._pause_ms += s.dt_ms
        return self._end(s) if self._pause_ms > _PAUSE_MS else False

    def _end(self, s: Snapshot) -> bool:
        self._state = _IDLE
        self._back_ma = s.current_ma
        self._shift_mv = shift_mv = self.r_uohm * (self._ref_ma - self._rate_ma) // 1000000
        off_ma = abs(self._ref_ma - self._rate_ma)
        if self._n_marks and max(self.at_uah) == _UNSEEN:
            return False  # nothing was passed
        if 5 * off_ma > self._rate_ma or abs(shift_mv) > _SHIFT_MV:
            self.refusal = Refusal.RATE
            return False
        if not self.r_uohm and 20 * off_ma > self._rate_ma:
            self.refusal = Refusal.RATE
            return False
        return True

    @property
    def degrees(self) -> float:
        """Temperature of the cells at the end of the constant current, degC."""
        return self._warm_dc / 10

    def evidence(self, cell: int) -> "tuple[float, float, float] | None":
        """``(capacity, variance, its part that is not common)``, basis points of rated.

        ``None``, with the reason in ``refusal``, where there is none. Of the windows that were
        passed, the first counts: they stand in the order of what they are worth. By what is
        common, the cell's other charges are off as well.
        """
        warm_dc = self._warm_dc
        if warm_dc == UNKNOWN_DC:
            self.refusal = Refusal.TEMPERATURE
            return None
        model = self._model
        low_dc, high_dc = model.warm_dc
        outside = max(low_dc - warm_dc, warm_dc - high_dc, 0) / 10
        if outside > _FAR_K:
            self.refusal = Refusal.TEMPERATURE
            return None
        found = None
        why = Refusal.SWING_TOO_SMALL
        at = cell * self._n_marks
        for w in model.windows:
            i, j, k = w.marks
            q0, q1, q2 = self.at_uah[at + i], self.at_uah[at + j], self.at_uah[at + k]
            if _UNSEEN in (q0, q1, q2):
                continue
            rated_uah = self._rated_mah * 1000.0
            capacity, fit = w.estimate((q1 - q0) / rated_uah, (q2 - q1) / rated_uah, warm_dc / 10)
            if fit > w.limit or not _LEAST < capacity < _MOST:
                why = Refusal.TOO_UNCERTAIN
                continue
            drift = _PER_K * outside
            rise_mv = model.marks_mv[j] - model.marks_mv[i] if j < self._n_edges else 0
            moved = _MOVED * self._shift_mv * (q1 - q0) / rated_uah / max(rise_mv, 1)
            var = w.s * w.s + fit + drift * drift + moved * moved
            found = (capacity, var)
            break
        if found is None:
            self.refusal = why
            return None
        self.refusal = Refusal.NONE
        var = found[1] * 100000000
        scatter = model.scatter_bp
        return found[0] * 10000, var, min(scatter * scatter, 0.9 * var)
