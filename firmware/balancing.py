"""Passive balancing: which cells to bleed, so that the pack's highest cells wait for the lowest.

At rest and in charge, with nothing wrong and nothing hot. By voltage where the voltage tells the
charge: above ``balance_min_mv``, at no more than C/10 (a current shows differences of resistance,
not of charge). Below that, on a plateau, by charge: the cells that surely hold ``SURPLUS_BP`` of
the rated capacity more than the mean one (``estimators/differences.py``), whatever charges them.
What was bled is counted there, by what the chip says it truly bleeds.

A bled cell reads low and its neighbours high, so bleeding pauses for ``PAUSE_CYCLES`` of every
``PERIOD_CYCLES``, and only readings of the pause's end choose the next cells: the highest first,
never two neighbours, at most ``balance_max_cells``.

    >>> surplus_bp = estimators.differences.surplus_bp
    >>> measurement.set_balancing(balancing.choose(snapshot, protection.allowed, surplus_bp))
"""

from array import array

from common.mp import const
from firmware.estimators import ocv
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_PERIOD_CYCLES = const(20)
_PAUSE_CYCLES = const(3)
_CHIP_HIGHEST_DC = const(700)
_SURPLUS_BP = const(50)
_RATE_PARTS = const(10)


class Balancing:
    """Chooses the cells; who carries the choice out is not its concern."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cells = 0  # bit per cell that is to be bled in this period
        self._cycle = 0
        profile = settings.profile
        low_bp, high_bp = profile.flat_bp
        self._slow_ma: int = settings.rated_mah // _RATE_PARTS
        self._plateau_mv = 0  # its lower end; 0: none
        if high_bp > low_bp:
            self._plateau_mv = int(ocv.rested_mv(profile, low_bp))

    def choose(self, snapshot: Snapshot, allowed: int, surplus_bp: "array[int]") -> int:
        """Bit per cell to be bled until the next call; 0 in the pause and when in doubt.

        ``surplus_bp``: what each cell surely holds more than the mean one.
        """
        if not self._may(snapshot, allowed):
            self.cells = 0
            self._cycle = 0
            return 0
        self._cycle += 1
        if self._cycle < _PAUSE_CYCLES:
            return 0
        if self._cycle == _PAUSE_CYCLES:
            # A cell still bled now would be chosen by a reading that its own bleeding made.
            self.cells = 0 if snapshot.balancing else self._choose(snapshot, surplus_bp)
        if self._cycle >= _PERIOD_CYCLES:
            self._cycle = 0
            return 0
        return self.cells

    def _may(self, s: Snapshot, allowed: int) -> bool:
        settings = self.settings
        if not s.valid or s.faults or not allowed:
            return False
        if s.max_dc == UNKNOWN_DC or s.max_dc > settings.balance_max_dc:
            return False
        if s.afe_dc != UNKNOWN_DC and s.afe_dc > _CHIP_HIGHEST_DC:
            return False
        if s.current_ma > self._slow_ma:
            return self._by_charge(s)
        return s.current_ma >= -self._slow_ma

    def _by_charge(self, s: Snapshot) -> bool:
        """Whether the cells stand on a plateau, where their voltages tell nothing."""
        return 0 < self._plateau_mv <= s.min_mv and s.max_mv < self.settings.balance_min_mv

    def _choose(self, s: Snapshot, surplus_bp: "array[int]") -> int:
        settings = self.settings
        if self._by_charge(s):
            return self._highest(s, surplus_bp, _SURPLUS_BP, 0)
        least_mv = s.min_mv + settings.balance_start_mv
        return self._highest(s, s.cell_mv, least_mv, settings.balance_min_mv)

    def _highest(self, s: Snapshot, values: "array[int]", least: int, least_mv: int) -> int:
        """The cells with the highest values from ``least`` and voltages from ``least_mv`` on."""
        chosen = 0
        for _ in range(self.settings.balance_max_cells):
            best = -1
            most = least - 1
            for i in range(s.n_cells):
                value = values[i]
                near = chosen >> i - 1 & 7 if i else chosen & 3  # itself and its neighbours
                if value > most and s.cell_mv[i] >= least_mv and not near:
                    best = i
                    most = value
            if best < 0:
                break
            chosen |= 1 << best
        return chosen
