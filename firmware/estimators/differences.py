"""The charge of each cell against the mean cell, and how fast it leaks beyond the mean.

The *room* of a cell is the charge that it still takes up, ``(1 - z) C`` (``z`` its SOC, ``C`` its
capacity over rated). Cells in series share every current, so the difference to the mean

    d_i = mean(room) - room_i              what to bleed from the cell so that all are full at once

changes by bleeding and leaking alone. Basis points of rated; per cell the state is ``d`` and
``l``, the leak beyond the mean cell's in basis points a day of run time:

    d' = -l - bled + mean(bled)        l' = noise        y = d + g b + noise

``y`` is the difference told by voltages: at rest, at full and at empty. Its error is hardly ever
new: the table, the sensor's channel and the cell's own curve are wrong in the same way as long as
the SOC is the same. That part is ``b``, of variance 1, with ``g`` its size in basis points:

    g^2 = (own part of the SOC's error C)^2 + ((1 - z) own error of C)^2

``b`` is a third state of the filter: looks of one rest thereby refine the leak, which makes their
change, and not the difference. It is forgotten by how far the SOC has moved meanwhile, and when
the capacities were learnt anew; half of ``g^2`` never averages out of ``d``. What is common to the
cells of the string drops out of the differences and is not in ``g``. On a plateau ``g`` is the
plateau's width: such a look only counts where less is known, and tells the leak nothing. Beyond
the table's upper end a cell may be by what its slope there makes of the voltage that remains;
where that is much (LFP), capacities and so all differences are unsure by it, at any SOC.

Bleeding is counted from the chip's resistors: 28 ohm within and 20 ohm in each lead, for the 0.7
of the time that its measuring leaves; 20 % of it is an error that only grows.

State: 42 bytes a cell (9 floats, the charge bled, the surplus).

    >>> differences.update(snapshot, now_s)
    >>> differences.rest(snapshot, lagging_a, resistance, now_s)
    >>> differences.measure(now_s)  # another cycle: both take long
    >>> differences.interval(3)
    (120.0, 60.0, 180.0)
"""

import math
from array import array

from common.mp import const
from common.registers import Block
from firmware.estimators import ocv
from firmware.estimators.anchors import Anchor
from firmware.estimators.resistance import Resistance
from firmware.estimators.soc import Soc
from firmware.estimators.soh import Soh
from firmware.settings import Settings
from firmware.snapshot import Snapshot

FIRST_LOOK_S = const(900)  # of a rest; the next at 1 h and 4 h ...
LOOK_EVERY_S = const(21600)  # ... and then so often

_EARLY_S = const(14400)
_BLEED_ERROR = const(0.2)
_BLEED_FLUSH_MS = const(20000)
_DAY_S = const(86400)
_HOUR_S = const(3600)
_MONTH = const(30)  # days
_PRIOR_BP = const(2000.0)  # of d and ...
_PRIOR_LEAK = const(20.0)  # ... bp a day of l, before any evidence: deviations
_WALK_BP2 = const(1.0)  # of d in a day
_WALK_LEAK2 = const(0.1)  # of l in a day
_LEAST_LEAK2 = const(0.36)  # of l: the curves' errors change while the cells discharge themselves
_OWN = const(0.5)  # of a SOC's deviation, what other cells do not share
_OWN_CAPACITY_BP = const(500.0)  # deviation of a cell's capacity from the mean one, not measured
_LEAST_CAPACITY_BP = const(30.0)  # ... and measured at best
_LAG = const(0.2)  # of slow polarisation, by how much it differs from cell to cell
_READ_MV = const(0.5)
_ENDS = const((0.0, 10000.0))  # of the table
_BEYOND_BP = const(200.0)  # beyond them, at most
_BLIND_BP = const(100.0)  # more than that beyond the table, and no measurement tells it in the end
_END_NOISE = const(0.5)  # of the error at an end: polarisation is another one each time
_SPAN_BP = const(1500.0)  # of SOC over which b is forgotten
_PER_CENTI = const(10.0)  # ... likewise: what a hundredth of a full cycle adds to that
_UNLIKE = const(0.1)
_LASTING = const(0.5)  # of the variance of a measurement, what no other averages out
_WIDE_BP = const(400.0)  # a g beyond which the look is one into a plateau
_ODD = const(16.0)  # squared deviations that are not noise
_SCALE = const(0.1)  # relative error of every difference: slope of the table
_SCALE_LEAK = const(0.2)
_OFF_DAYS = const(30.0)  # for which the board may have been off
_OFF_BP = const(100.0)
_SURE_LEAK = 200.0 / 2 / _MONTH  # deviation at which a leak is told: 2 % a month at 95 %
_CLEAR = const(9.0)  # squared deviations from 0 at which a less sure one is told


class Look:
    """What voltages tell of each cell, all but weighed."""

    def __init__(self, n_cells: int) -> None:
        zeros = bytes(4 * n_cells)
        self.z = array("f", zeros)  # SOC in bp
        self.own = array("f", zeros)  # ... and its deviation that is the cell's own
        self.capacity = array("f", zeros)  # in bp of rated, likewise
        self.sigma = array("f", zeros)
        self.noise = 0.0  # part of ``own`` that is new each time
        self.mean_z = 0.0
        self.mean_bp = 0.0  # of the room
        self.beyond_bp = 0.0  # by which the mean is unsure for cells beyond the table's ends


class Differences:
    """``d`` and ``leak`` per cell with covariance; ``known`` once anything was measured."""

    def __init__(self, settings: Settings, soc: Soc, soh: Soh) -> None:
        n = settings.n_cells
        self._n = n
        self._profile = settings.profile
        self._rated_mah = settings.rated_mah
        self._soc = soc
        self._soh = soh
        soc_bp, ocv_mv = self._profile.soc_bp, self._profile.ocv_mv
        last = len(ocv_mv) - 1
        slope = (soc_bp[last] - soc_bp[last - 1]) / (ocv_mv[last] - ocv_mv[last - 1])
        above_bp = slope * (self._profile.cell_full_mv - ocv_mv[last])
        self._beyond_bp = min(_BEYOND_BP, max(0.0, above_bp))
        self.d = array("f", bytes(4 * n))
        self.leak = array("f", bytes(4 * n))
        self.dd = array("f", [_PRIOR_BP * _PRIOR_BP] * n)
        self.dl = array("f", bytes(4 * n))
        self.ll = array("f", [_PRIOR_LEAK * _PRIOR_LEAK] * n)
        self.b = array("f", bytes(4 * n))
        self.db = array("f", bytes(4 * n))
        self.lb = array("f", bytes(4 * n))
        self.bb = array("f", [1.0] * n)
        self.bled_uah = array("i", bytes(4 * n))
        self.surplus_bp = array("h", bytes(2 * n))  # what a cell surely has more than the mean
        self.known = False
        self.look: Look | None = None  # that is to be weighed
        self.at_s = 0  # of the last measurement
        self._now_s = 0  # to which the states are brought
        self._ref_z = 0.0  # mean SOC and full cycles at the reference of ``_kept``
        self._ref_centi = 0
        self._like_ref = 1.0  # correlation of the last ``b`` with the one there
        self._relearnt = False  # capacities, since the last measurement
        self._due_s = FIRST_LOOK_S  # of a rest
        self._bleed_dua_mv: int = settings.bleed_dua_mv
        self._bleeding = 0
        self._bleed_ms = 0

    # --- each cycle -----------------------------------------------------------------------

    def update(self, s: Snapshot, now_s: int) -> None:
        """Count what is bled in a valid cycle."""
        bleeding = s.balancing
        if bleeding != self._bleeding or self._bleed_ms >= _BLEED_FLUSH_MS:
            if self._bleeding:
                self._bleed(s)
            self._bleeding = bleeding
            self._bleed_ms = 0
        if bleeding:
            self._bleed_ms += s.dt_ms
        if now_s - self._now_s >= _HOUR_S:
            self._advance(now_s)
            self._surpluses()

    def rest_due(self, s: Snapshot, rest_s: int) -> bool:
        """Whether ``rest`` is to be called, after ``rest_s`` without current (-1: there is)."""
        if rest_s < FIRST_LOOK_S:
            self._due_s = FIRST_LOOK_S
            return False
        return rest_s >= self._due_s and not s.balancing

    def rest(self, s: Snapshot, lagging_a: float, resistance: Resistance, now_s: int) -> None:
        """Look at the rested voltages; ``lagging_a`` of the last current they still show."""
        self._due_s += 3 * self._due_s if self._due_s < _EARLY_S else LOOK_EVERY_S
        profile = self._profile
        own_mv = _OWN * profile.ocv_sigma_mv
        look = Look(self._n)
        r_mohm = 0.0
        for i in range(self._n):
            look.z[i], look.own[i] = ocv.look_up(profile, float(s.cell_mv[i]), own_mv)
            r_mohm = max(r_mohm, resistance.typical_uohm(i) / 1000)
        lag_mv = _LAG * lagging_a * r_mohm
        look.noise = math.sqrt(_READ_MV * _READ_MV + lag_mv * lag_mv) / own_mv
        self._see(look, now_s)

    def end(self, anchor: Anchor, now_s: int) -> None:
        """Look at what an anchor at full or empty has told of each cell's SOC."""
        look = Look(self._n)
        for i in range(self._n):
            look.z[i] = anchor.soc[i]
            look.own[i] = _OWN * anchor.sigma[i]
        look.noise = _END_NOISE
        self._see(look, now_s)

    def relearnt(self) -> None:
        """The capacities have changed: so has their error."""
        self._relearnt = True

    # --- the filter -----------------------------------------------------------------------

    def _bleed(self, s: Snapshot) -> None:
        """Take what was bled since the mask last changed out of the differences."""
        total = 0.0
        per_mv = self._bleed_dua_mv
        for i in range(self._n):
            if self._bleeding >> i & 1:
                # In integers, of which none passes 31 bits.
                uah = (s.cell_mv[i] * per_mv * (self._bleed_ms // 100) + 180000) // 360000
                self.bled_uah[i] += uah
                bp = uah / self._rated_mah * 10
                self.d[i] -= bp
                self._doubt(i, _BLEED_ERROR * bp)
                total += bp
        shared = total / self._n
        for i in range(self._n):
            self.d[i] += shared

    def _doubt(self, i: int, bp: float) -> None:
        """Let the deviation of a difference grow by ``bp``."""
        more = math.sqrt(self.dd[i]) + bp
        self.dd[i] = more * more

    def _advance(self, now_s: int) -> None:
        days = (now_s - self._now_s) / _DAY_S
        self._now_s = now_s
        for i in range(self._n):
            ll = self.ll[i]
            self.d[i] -= self.leak[i] * days
            self.dd[i] += days * (days * ll - 2 * self.dl[i]) + _WALK_BP2 * days
            self.dl[i] -= ll * days
            self.db[i] -= self.lb[i] * days
            self.ll[i] = min(ll + _WALK_LEAK2 * days, _PRIOR_LEAK * _PRIOR_LEAK)

    def capacity(self, i: int) -> "tuple[float, float]":
        """Capacity of cell ``i`` and its own deviation, basis points of rated."""
        soh = self._soh
        if soh.known(i):
            beyond_bp = self._beyond_bp  # a full cell is 100 % to ``soh`` wherever it is there
            var = soh.own[i] + beyond_bp * beyond_bp
            return soh.soh[i], max(math.sqrt(var), _LEAST_CAPACITY_BP)
        return self._soc.capacity * 10000, _OWN_CAPACITY_BP

    def _see(self, look: "Look", now_s: int) -> None:
        self._advance(now_s)
        n = self._n
        for i in range(n):
            z = look.z[i]
            if z in _ENDS:
                look.beyond_bp += self._beyond_bp / n
            look.mean_z += z / n
            look.capacity[i], look.sigma[i] = self.capacity(i)
            look.mean_bp += _room(z, look.capacity[i]) / n
        self.look = look

    def measure(self, now_s: int) -> None:
        """Weigh ``look`` in."""
        look = self.look
        if look is None:
            return
        self.look = None
        n = self._n
        own = look.own
        keep = self._kept(look.mean_z)
        for i in range(n):
            self.b[i] *= keep
            self.db[i] *= keep
            self.lb[i] *= keep
            self.bb[i] = 1 - keep * keep * (1 - self.bb[i])
            z = look.z[i]
            c = look.capacity[i]
            # the mean cell itself is unsure by those that are beyond the table
            beyond_bp = self._beyond_bp if z in _ENDS else look.beyond_bp
            sigma = (own[i] + beyond_bp) * c / 10000
            size = (1 - z / 10000) * look.sigma[i]
            g = math.sqrt(sigma * sigma + size * size)
            self._weigh(i, look.mean_bp - _room(z, c), g, look.noise * sigma)
            own[i] = g
        self._centre(own)
        self.known = True
        self.at_s = now_s
        self._surpluses()

    def _kept(self, mean_z: float) -> float:
        """The correlation of this measurement's ``b`` with the last one's.

        Counted from one reference, so that many small moves forget as much as a great one.
        """
        fec_centi = self._soh.fec_centi
        moved = abs(mean_z - self._ref_z) + _PER_CENTI * (fec_centi - self._ref_centi)
        moved /= _SPAN_BP
        like_ref = 0.0 if self._relearnt else math.exp(-moved * moved / 2)
        kept = min(1.0, like_ref / self._like_ref)
        self._like_ref = like_ref
        if like_ref < _UNLIKE:
            self._ref_z = mean_z
            self._ref_centi = fec_centi
            self._like_ref = 1.0
            self._relearnt = False
        return kept

    def _weigh(self, i: int, y: float, g: float, noise: float) -> None:
        dd = self.dd[i]
        if g > _WIDE_BP:
            if g * g < dd:
                self._begin(i, y, g * g)
            return
        ad = dd + g * self.db[i]
        al = self.dl[i] + g * self.lb[i]
        ab = self.db[i] + g * self.bb[i]
        s = ad + g * ab + noise * noise
        nu = y - self.d[i] - g * self.b[i]
        if nu * nu > _ODD * s:  # nobody told: charged singly, or exchanged
            self._begin(i, y, g * g + noise * noise)
            self.db[i] = -g
            return
        nu /= s
        self.d[i] += ad * nu
        self.leak[i] += al * nu
        self.b[i] += ab * nu
        left = dd - ad * ad / s
        self.dl[i] -= ad * al / s
        self.ll[i] = max(self.ll[i] - al * al / s, _LEAST_LEAK2)
        # what lasts stays unknown between d and b; of their sum as much is known as before
        more = max(min(dd, _LASTING * g * g) - left, 0.0)
        self.dd[i] = left + more
        self.db[i] -= ad * ab / s + more / g
        self.lb[i] -= al * ab / s
        self.bb[i] = max(self.bb[i] - ab * ab / s + more / (g * g), 0.0)

    def _begin(self, i: int, y: float, var: float) -> None:
        """Only this measurement counts for the difference; the leak stays what it was."""
        self.d[i] = y
        self.dd[i] = var
        self.dl[i] = self.db[i] = self.lb[i] = self.b[i] = 0.0
        self.bb[i] = 1.0

    def _centre(self, g: "array[float]") -> None:
        """The differences add up to nothing; each cell's ``d + g b`` stays as it was measured."""
        mean = 0.0
        for i in range(self._n):
            mean += self.d[i] / self._n
        for i in range(self._n):
            self.d[i] -= mean
            self.b[i] += mean / g[i]

    def _surpluses(self) -> None:
        for i in range(self._n):
            lo = self.interval(i)[1]
            self.surplus_bp[i] = int(min(lo, 10000.0)) if lo > 0 and self.known else 0

    # --- figures --------------------------------------------------------------------------

    def interval(self, i: int) -> "tuple[float, float, float]":
        """``(difference, lo, hi)`` of cell ``i`` in bp of rated, 95 %; for ``known`` only."""
        d = self.d[i]
        scale = _SCALE * d
        blind = self._beyond_bp if self._beyond_bp > _BLIND_BP else 0.0
        width = 2 * math.sqrt(self.dd[i] + scale * scale + blind * blind)
        return d, d - width, d + width

    def leak_interval(self, i: int) -> "tuple[float, float, float] | None":
        """``(leak, lo, hi)`` in bp of rated a month beyond the mean cell's, 95 %.

        ``None`` before it is known to 2 % a month, or clearly not 0.
        """
        leak = self.leak[i]
        scale = _SCALE_LEAK * leak
        var = self.ll[i] + scale * scale
        if self.ll[i] > _SURE_LEAK * _SURE_LEAK and leak * leak < _CLEAR * var:
            return None
        width = 2 * math.sqrt(var)
        return _MONTH * leak, _MONTH * (leak - width), _MONTH * (leak + width)

    def leaks_known(self) -> bool:
        """Whether every cell's leak is known."""
        return all(self.leak_interval(i) is not None for i in range(self._n))

    def mean_room(self, soc_bp: float) -> "tuple[float, float]":
        """Mean room in bp of rated when the cells' mean SOC is ``soc_bp``, and its slope by it."""
        share = inverse = 0.0
        for i in range(self._n):
            c = self.capacity(i)[0]
            share += self.d[i] / c / self._n
            inverse += 1 / c / self._n
        return (1 - soc_bp / 10000 + share) / inverse, 1 / inverse

    def first_empty(self, empty_bp: float) -> "tuple[int, float, float]":
        """The known cell that comes to ``empty_bp`` first: its index, SOC and deviation in bp."""
        level, var = self._soc.predict()
        room, slope = self.mean_room(level)
        sigma = math.sqrt(var) / 10000
        found = -1
        least = soc_bp = width = 0.0
        for i in range(self._n):
            if self._soh.known(i):
                z, lo, hi = self._cell_soc(i, self.interval(i), room, slope, sigma)
                left = (z - empty_bp) * self.capacity(i)[0]
                if found < 0 or left < least:
                    found = i
                    least = left
                    soc_bp = z
                    width = max(z - lo, hi - z)
        return found, soc_bp, width / 2

    def publish(self, block: Block) -> None:
        """Write the cells' part of the energy model."""
        soc = self._soc
        known = self.known and soc.soc_bp is not None
        room = slope = sigma = 0.0
        if known:
            level, var = soc.predict()
            sigma = math.sqrt(var) / 10000
            room, slope = self.mean_room(level)
        row: list[int | None] = [None] * 10
        for i in range(self._n):
            if self.known:
                d = self.interval(i)
                _put(row, 3, d)
                if known:
                    _put(row, 0, self._cell_soc(i, d, room, slope, sigma))
            _put(row, 6, self.leak_interval(i))
            row[9] = self.bled_uah[i] // 1000
            block.set_row(i, row)

    def _cell_soc(
        self,
        i: int,
        difference: "tuple[float, float, float]",
        room: float,
        slope: float,
        sigma: float,
    ) -> "tuple[float, float, float]":
        c, sigma_c = self.capacity(i)
        d, _lo, hi = difference
        empty = (room - d) / c
        own = (hi - d) / 2 / c
        size = empty * sigma_c / c
        common = slope * sigma / c
        width = 2 * math.sqrt(own * own + size * size + common * common)
        z = 1 - empty
        return _clip(z), _clip(z - width), _clip(z + width)

    # --- what survives power-off ----------------------------------------------------------

    def restore(self, i: int, saved: "tuple[float, float, float, float, int]") -> None:
        """Take up ``(d, leak, their variances, uAh bled)`` from before the board was off.

        For how long it was is not known: the difference may have gone on leaking.
        """
        self.d[i], self.leak[i], self.dd[i], self.ll[i], self.bled_uah[i] = saved
        leak = abs(self.leak[i]) + math.sqrt(self.ll[i])
        self._doubt(i, min(_OFF_BP + _OFF_DAYS * leak, _PRIOR_BP))

    def restored(self, known: bool, now_s: int) -> None:
        """All cells were taken up."""
        self.known = known
        self.at_s = self._now_s = now_s
        self._relearnt = True
        self._surpluses()


def _room(z_bp: float, capacity: float) -> float:
    return (1 - z_bp / 10000) * capacity


def _clip(fraction: float) -> float:
    return 10000 * min(1.0, max(0.0, fraction))


def _put(row: "list[int | None]", at: int, figure: "tuple[float, float, float] | None") -> None:
    if figure is not None:
        for k in range(3):
            row[at + k] = math.floor(figure[k] + 0.5)
