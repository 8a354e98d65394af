"""Anchors: moments at which the cells' SOC can be told from their voltages alone.

Three kinds, each with a SOC and a standard deviation per cell:

* REST: no current for a while. The voltage is looked up in the profile's OCV table. It has not
  settled yet: it goes on roughly with the logarithm of time, so the slope
  ``b = (v2 - v1) / ln(t2 / t1)`` between two looks is followed half the way to two hours, and
  most of that way is an error. A slow polarisation hides from ``b`` early on: half of what the
  last current could have built up, dying off with 15 minutes, is another. The one is about what
  ``b`` shows, the other about what it does not: they are independent, and their squares add.
* FULL: the highest cell at its full voltage, or 100 mV above the table's end, and the current
  tapered below C/15.
* EMPTY: the lowest cell at its empty voltage under load.

Under current the voltage is corrected by the resistance over a second, at the temperature of now,
times what the slower polarisation makes of it: 3 +- 1.5 at the end of a charge, where much of the
larger current before still shows, 2.6 +- 1.0 at the end of a discharge. A cell that is at its full
voltage is at 100 % by definition: the table's error and old polarisation count only as far as it
falls short. Where a charger goes far beyond the table's end (LFP) the voltage rises steeply: no
more than 1.6 % fits in there, and half of that is taken. The table is that of a cell as aged as
this one was known to be when the anchor opened (``ocv``).

One anchor is *open* and is refined as long as no more than 1 % of the rated charge moves: a cell
keeps whichever kind told it best. When the next opens it moves into the slot of its SOC region,
where it can be one end of a capacity measurement later.
"""

import math
from array import array

from common.mp import const
from firmware.estimators import ocv
from firmware.estimators.charge import Charge
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.resistance import Resistance, at_25
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

NONE = const(0)
REST = const(1)
FULL = const(2)
EMPTY = const(3)

REFINED = const(1)
OPENED = const(2)

_LOOKS_S = const((30, 60, 120, 240, 480, 900, 1700, 3400, 7000, 14000))
_SETTLED_S = const(7200)
_POLARISATION_S = const(900)
_MEMORY = const(512)  # cycles over which the current before a rest is averaged
_REST_DV_S = const(900)  # a rest this long tells the cells' differences ...
# ... at a SOC where they are those of charge and not of a steep end
_REST_DV_BP = const((3000, 8000))
_FULL_EVERY_S = const(30)
_EMPTY_EVERY_S = const(5)
_TAPER_CYCLES = const(5)
_LOST_CYCLES = const(10)  # after which nobody knows whether it was a rest
_FLOOR_BP = const((0, 100, 30, 50))  # by kind: what no look-up can do better than
_KEEP_S = const(86400)
_ABOVE_MV = const(100)  # above the table's end a cell is full, whatever the charger aims at
_CHIP_MV = const(3.5)  # deviation of the chip's cell voltages
_FULL_DROPS = const(3.0)  # 1 s resistances, see above
_FULL_SHARE = const(0.5)
_EMPTY_DROPS = const(2.6)
_EMPTY_SHARE = const(0.4)
_BEYOND_BP = const(80.0)
_STEEP_MV = const(40)  # above the table's end; nearer to it a full cell is at 100 % by definition
_WARM_DC = const((100, 450))


class Health:
    """What ``Anchors`` asks of ``soh.Soh``."""

    def fraction(self, cell: int) -> "tuple[float, float]":
        """SOH of a cell and its deviation, as fractions of rated."""
        raise NotImplementedError


class Anchor:
    """SOC and standard deviation per cell (basis points) at one reading of the charge counter."""

    def __init__(self, n_cells: int) -> None:
        self.kind = NONE  # of what opened or last improved it
        self.t_s = 0
        self.mah = 0
        self.uah = 0
        self.doubt_mah = 0.0  # what the current sensor's offset may have added, ever
        self.warm = False  # every sensor within 10..45 degC
        self.mean_bp = 0.0
        self.sigma_bp = 0.0
        self.soc = array("h", bytes(2 * n_cells))
        self.sigma = array("h", bytes(2 * n_cells))
        self.kinds = array("B", bytes(n_cells))


class Anchors:
    """Finds anchors in the stream of snapshots. ``update`` is cheap but at the few looks."""

    def __init__(
        self,
        settings: Settings,
        charge: Charge,
        offset: CurrentOffset,
        resistance: Resistance,
        health: Health,
    ) -> None:
        self._health = health
        self._profile = settings.profile
        self._n = settings.n_cells
        rated_mah = settings.rated_mah
        self._charge = charge
        self._doubt = offset.doubt
        self._resistance = resistance
        self._rest_ma = max(rated_mah // 200, 10)
        self._taper_ma = rated_mah // 15
        self._load_ma = rated_mah // 20
        self._moved_mah = rated_mah / 100
        top_mv = self._profile.ocv_mv[len(self._profile.ocv_mv) - 1]
        self._full_mv = min(self._profile.cell_full_mv - 20, top_mv + _ABOVE_MV)
        self._settings = settings
        self._before_ua = rated_mah * 200  # unknown since boot: assume C/5
        self._earlier_mv = array("H", bytes(2 * self._n))
        self._slip = array("f", bytes(4 * self._n))  # of each cell when the anchor opened ...
        self._slip_sigma = array("f", bytes(4 * self._n))  # ... and its deviation
        self._taper = 0
        self._lost = 0  # cycles in a row
        self._below = False  # what a cell gives below its empty voltage does not count
        self._look = 0
        self._since_s = -1  # start of the rest, or of the taper's or load's last look
        self.open = Anchor(self._n)
        self.slots = [Anchor(self._n) for _ in range(4)]
        self.rest_dv_mv: int | None = None
        self.rest_dv_s = 0
        self.resting = False
        self.looked = False  # at the cells, in the last update

    def update(self, s: Snapshot, now_s: int, may_look: bool = True) -> int:
        """Look at a valid snapshot; ``OPENED``, ``REFINED`` or 0 says what became of ``open``.

        A look that is due waits until one ``may_look``.
        """
        self._lost = 0
        self.looked = False
        current_ma = s.current_ma
        if -self._rest_ma < current_ma < self._rest_ma:
            if not self.resting:
                self.resting = True
                self._since_s = now_s
                self._look = 0
            due = self._look < len(_LOOKS_S) and now_s - self._since_s >= _LOOKS_S[self._look]
            if due and may_look:
                return self._rest(s, now_s)
            return 0
        if self.resting:
            self.resting = False
            self._since_s = -1
        self._before_ua += (abs(current_ma) * 1000 - self._before_ua) // _MEMORY
        if 0 < current_ma <= self._taper_ma and s.max_mv >= self._full_mv:
            self._taper += 1
            due = self._since_s < 0 or now_s - self._since_s >= _FULL_EVERY_S
            if self._taper >= _TAPER_CYCLES and due and may_look:
                self._since_s = now_s
                return self._take(FULL, s, now_s)
            return 0
        self._taper = 0
        if current_ma > 0:
            self._below = False
        empty_mv = max(self._profile.cell_empty_mv, self._settings.cuv_mv) + 30
        if current_ma <= -self._load_ma and s.min_mv <= empty_mv:
            due = self._since_s < 0 or now_s - self._since_s >= _EMPTY_EVERY_S
            if due and may_look and not self._below:
                self._since_s = now_s
                self._below = s.min_mv <= self._profile.cell_empty_mv
                return self._take(EMPTY, s, now_s)
            return 0
        self._since_s = -1
        return 0

    def interrupt(self) -> None:
        """A cycle was lost: what was counted as consecutive is not."""
        self._taper = 0
        if self._lost < _LOST_CYCLES:
            self._lost += 1
            return
        self.resting = False
        self._since_s = -1

    def rest_s(self, now_s: int) -> int:
        """For how long there has been no current; -1 when there is one."""
        return now_s - self._since_s if self.resting else -1

    def lagging_a(self, now_s: int) -> float:
        """Of the current before this rest: what slow polarisation may still show of it."""
        return self._slow_a() * math.exp(-(now_s - self._since_s) / _POLARISATION_S)

    def _slow_a(self) -> float:
        return self._before_ua / 2000000

    def _rest(self, s: Snapshot, now_s: int) -> int:
        cell_mv = s.cell_mv
        result = 0
        if self._look:
            result = self._take(REST, s, now_s)
        for i in range(self._n):
            self._earlier_mv[i] = cell_mv[i]
        self._look += 1
        low, high = _REST_DV_BP
        if now_s - self._since_s >= _REST_DV_S and low <= self.open.mean_bp <= high:
            self.rest_dv_mv = s.max_mv - s.min_mv
            self.rest_dv_s = now_s
        return result

    def _take(self, kind: int, s: Snapshot, now_s: int) -> int:
        self.looked = True
        anchor = self.open
        charge = self._charge
        fresh = anchor.kind == NONE or (
            abs(charge.since(anchor.mah, anchor.uah)) > self._moved_mah
        )
        if fresh:
            self._keep(now_s)
            anchor = self.open
            for i in range(self._n):
                anchor.kinds[i] = NONE
                health, sigma = self._health.fraction(i)
                self._slip[i], self._slip_sigma[i] = ocv.slip_of(health, sigma)
        better = self._tell(anchor, kind, s, now_s)
        if not better:
            return 0
        if fresh or kind != REST:
            anchor.mah = charge.mah
            anchor.uah = charge.uah
            anchor.doubt_mah = self._doubt.since(0, 0)
            anchor.t_s = now_s
        anchor.kind = kind
        low, high = _WARM_DC
        coldest = s.min_dc
        anchor.warm = coldest != UNKNOWN_DC and coldest >= low and s.max_dc <= high
        mean = 0.0
        sigma = 0.0
        for i in range(self._n):
            mean += anchor.soc[i]
            sigma += anchor.sigma[i]
        anchor.mean_bp = mean / self._n
        anchor.sigma_bp = sigma / self._n
        return OPENED if fresh else REFINED

    def _tell(self, anchor: Anchor, kind: int, s: Snapshot, now_s: int) -> int:
        """Write each cell that ``kind`` tells better than before; how many those were."""
        profile = self._profile
        cell_mv = s.cell_mv
        floor = _FLOOR_BP[kind]
        top_mv = profile.ocv_mv[len(profile.ocv_mv) - 1]
        above_mv = profile.cell_full_mv - top_mv
        better = 0
        slow_a = self._slow_a()
        reach = 0.0
        if kind == REST:
            t_s = _LOOKS_S[self._look]
            step = math.log(t_s / _LOOKS_S[self._look - 1])
            reach = math.log(_SETTLED_S / t_s) / step if t_s < _SETTLED_S else 0.0
            slow_a = self.lagging_a(now_s)
        current_a = s.current_ma / 1000
        cold = 1.0 if s.min_dc == UNKNOWN_DC else 1 / at_25((s.min_dc + s.max_dc) / 2)[0]
        for i in range(self._n):
            mv = float(cell_mv[i])
            r_mohm = self._resistance.typical_uohm(i) / 1000 * cold
            table_mv = float(profile.ocv_sigma_mv)
            slip_sigma = self._slip_sigma[i]
            beyond = 0.0
            if kind == REST:
                ahead_mv = (mv - self._earlier_mv[i]) * reach
                mv += ahead_mv / 2
                other_mv = _root(0.4 * ahead_mv, slow_a * r_mohm)
            elif kind == FULL:
                short = min(1.0, max(0.0, (profile.cell_full_mv - mv) / (above_mv + 40)))
                drop_mv = _FULL_DROPS * current_a * r_mohm
                mv -= drop_mv
                table_mv *= short
                other_mv = _root(_FULL_SHARE * drop_mv + short * slow_a * r_mohm, _CHIP_MV)
                beyond = self._beyond_bp(mv - top_mv - _STEEP_MV)
            else:
                drop_mv = -_EMPTY_DROPS * current_a * r_mohm
                mv += drop_mv
                other_mv = _EMPTY_SHARE * drop_mv
            sigma_mv = _root(table_mv, other_mv)
            soc, sigma = ocv.look_up(profile, mv, sigma_mv, self._slip[i], slip_sigma)
            sigma = max(floor, math.sqrt(sigma * sigma + 0.6 * beyond * beyond))
            if anchor.kinds[i] in (NONE, kind) or sigma < anchor.sigma[i]:
                anchor.soc[i] = int(soc + beyond + 0.5)
                anchor.sigma[i] = int(sigma + 0.5)
                anchor.kinds[i] = kind
                better += 1
        return better

    def _beyond_bp(self, over_mv: float) -> float:
        """Charge beyond 100 % of a cell ``over_mv`` above where the voltage turns steep."""
        if over_mv <= 0:
            return 0.0
        soc, mv = self._profile.soc_bp, self._profile.ocv_mv
        last = len(mv) - 1
        slope = (soc[last] - soc[last - 1]) / (mv[last] - mv[last - 1])
        return min(_BEYOND_BP, slope * over_mv)

    def _keep(self, now_s: int) -> None:
        """Move the open anchor into its slot, unless a clearly better one of late is there."""
        old = self.open
        if old.kind == NONE:
            return
        at = (
            0
            if old.mean_bp < 2500
            else 1
            if old.mean_bp < 5000
            else 2
            if old.mean_bp < 8500
            else 3
        )
        there = self.slots[at]
        late = there.kind != NONE and now_s - there.t_s < _KEEP_S
        if late and there.sigma_bp * 2 < old.sigma_bp:
            old.kind = NONE
            return
        self.slots[at] = old
        self.open = there
        there.kind = NONE


def _root(a: float, b: float) -> float:
    return math.sqrt(a * a + b * b)
