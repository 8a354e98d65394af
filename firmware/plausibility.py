"""What a reading cannot be: cells that jump, stand still or lean on each other, and warm too fast.

* A cell that jumps by more than ``JUMP_MV`` from one cycle to the next is doubted until it has
  stayed there for ``JUMP_CYCLES``; cells cannot, but a loose sense wire can.
* A cell that reads the very same while all others have moved by ``MOVED_MV`` is stuck: noise
  alone turns a millivolt.
* An open sense wire leaves two cells with one tap that nothing holds. The lower one falls, the
  one above rises by the same amount, their sum stays: seen against where both stood to the mean
  cell before, which follows by 1 mV every ``FOLLOW_CYCLES``. A wire that was open from the start
  is seen by the voltages alone.
* ``rise_dc`` is how much the sensor that warms fastest gained on where it was 30 to 60 s ago.

Integers only, and nothing is allocated.

    >>> plausibility = Plausibility(settings)
    >>> snapshot.faults |= plausibility.cells(snapshot)
"""

from array import array

from common.models import N_TEMPERATURES
from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_CELL_LOWEST_MV = const(200)  # below it is a wire or a dead cell, not a reading
_CELL_HIGHEST_MV = const(5000)
_JUMP_MV = const(1000)
_JUMP_CYCLES = const(5)
_MOVED_MV = const(30)
_WIRE_MV = const(200)
_FOLLOW_CYCLES = const(10)
_RISE_S = const(30)

_SENSOR = const(1 << 11)  # SENSOR_IMPLAUSIBLE
_STACK = const(1 << 12)  # STACK_MISMATCH
_WIRE = const(1 << 24)  # OPEN_WIRE


class Plausibility:
    """Fed each complete reading; bits of ``codes.Fault`` are what ``cells`` returns."""

    def __init__(self, settings: Settings) -> None:
        n = settings.n_cells
        self._n = n
        self._settings = settings
        self._believed_mv = array("H", bytes(2 * n))  # 0: nothing believed yet
        self._jumped = bytearray(n)  # cycles for which a cell has not been believed
        self._still_mv = array("H", bytes(2 * n))  # where a cell has stood ...
        self._moved = bytearray(b"\x01" * n)  # ... and whether it has left there since
        self._usual_mv = array("h", bytes(2 * n))  # of each cell against the mean one
        self._follow = 0  # cycles until that may follow; 0 at first: take what is
        self._before_dc = array("h", [UNKNOWN_DC] * N_TEMPERATURES)
        self._earlier_dc = array("h", [UNKNOWN_DC] * N_TEMPERATURES)
        self._at_s = 0  # uptime at which the former was taken

    def cells(self, s: Snapshot) -> int:
        """What is wrong with this cycle's cells."""
        faults = self._jumps(s) | self._stuck(s) | self._wires(s)
        difference = s.sum_mv - s.stack_mv
        tolerance_mv = self._settings.stack_tolerance_mv
        if difference > tolerance_mv or difference < -tolerance_mv:
            faults |= _STACK
        if s.open_wires:  # the chip has tested its wires
            faults |= _WIRE
        return faults

    def temperatures(self, s: Snapshot) -> None:
        """Find ``rise_dc``."""
        most = 0
        for i in range(N_TEMPERATURES):
            before = self._earlier_dc[i]
            if before != UNKNOWN_DC and s.temp_dc[i] != UNKNOWN_DC:
                most = max(most, s.temp_dc[i] - before)
        s.rise_dc = most
        if s.uptime_s - self._at_s >= _RISE_S:
            self._at_s = s.uptime_s
            for i in range(N_TEMPERATURES):
                self._earlier_dc[i] = self._before_dc[i]
                self._before_dc[i] = s.temp_dc[i]

    def _jumps(self, s: Snapshot) -> int:
        faults = 0
        cells = s.cell_mv
        believed = self._believed_mv
        jumped = self._jumped
        for i in range(self._n):
            mv = cells[i]
            if mv < _CELL_LOWEST_MV or mv > _CELL_HIGHEST_MV:
                faults = _SENSOR
            step = mv - believed[i]
            if believed[i] and (step > _JUMP_MV or step < -_JUMP_MV) and jumped[i] < _JUMP_CYCLES:
                jumped[i] += 1
                faults = _SENSOR
            else:
                jumped[i] = 0
                believed[i] = mv
        return faults

    def _stuck(self, s: Snapshot) -> int:
        """A cell that is stuck is said until it moves."""
        still = self._still_mv
        n_far = 0
        stuck = 0
        for i in range(self._n):
            step = s.cell_mv[i] - still[i]
            if step:
                self._moved[i] = 1
            elif not self._moved[i]:
                stuck = _SENSOR
            if step > _MOVED_MV or step < -_MOVED_MV:
                n_far += 1
        if n_far < self._n - 1:
            return 0
        if stuck:
            return stuck
        for i in range(self._n):
            still[i] = s.cell_mv[i]
            self._moved[i] = 0
        return 0

    def _wires(self, s: Snapshot) -> int:
        mean_mv = s.sum_mv // self._n
        usual = self._usual_mv
        first = not self._follow
        faults = 0
        below = 0  # by how much the cell below is off
        for i in range(self._n):
            off = s.cell_mv[i] - mean_mv - usual[i]
            if first:
                usual[i] = off
                off = 0
            both = below + off
            if below < -_WIRE_MV and off > _WIRE_MV and -_WIRE_MV < 4 * both < _WIRE_MV:
                faults = _WIRE
            below = off
        if faults:
            return faults  # and follow nothing: it is not usual
        self._follow -= 1
        if self._follow <= 0:
            self._follow = _FOLLOW_CYCLES
            for i in range(self._n):
                off = s.cell_mv[i] - mean_mv - usual[i]
                usual[i] += (off > 0) - (off < 0)
        return 0
