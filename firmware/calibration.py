"""What is added to the AFE's readings so that they agree with a reference.

A calibration mends what the tolerances of good parts explain; what is beyond is a broken sensor.
The bounds are also how far it can move a limit: 28 mV at 4.2 V, 2 % and 0.5 A, 3 degC. What the
AFE does by itself (its own limits, the open-wire test) goes by its own readings as before.

The values are the registers of model CALIBRATION from ``VGain`` on: gain of the cells, of the
stack and of the current (0.01 %), offset of the current (mA), offsets of four temperatures
(0.1 degC), two texts, an offset of each cell (mV).

    >>> calibration = Calibration(values, n_cells)
    >>> calibration.wrong  # index of the first value beyond its bound
    -1
    >>> calibration.apply(snapshot, snapshot.dt_ms)
"""

import struct
from array import array

from common.models import N_TEMPERATURES
from common.mp import const
from firmware.snapshot import UNKNOWN_DC, Snapshot

_CELLS_AT = const(48)  # behind eight numbers and two texts of 16 bytes
_BP = const(10000)
_MS = const(3600)  # mA ms in 1 uAh
_BOUNDS = (30, 100, 200, 500, 30, 30, 30, 30)
_CELL_BOUND = const(15)


class Calibration:
    """One board's. ``offset_ma`` is part of it."""

    def __init__(self, values: "bytes | bytearray", n_cells: int) -> None:
        numbers = struct.unpack_from(">8h", values)
        self.cell_bp, self.stack_bp, self.current_bp, self.offset_ma = numbers[:4]
        self._temp_dc = array("h", numbers[4:])
        self._cell_mv = array("h", struct.unpack_from(">%dh" % n_cells, values, _CELLS_AT))
        self._gain_part = self._offset_part = 0  # of 1 uAh
        self.wrong = -1
        for i, value in enumerate(numbers + tuple(self._cell_mv)):
            bound = _BOUNDS[i] if i < len(_BOUNDS) else _CELL_BOUND
            if self.wrong < 0 and not -bound <= value <= bound:
                self.wrong = i

    def apply(self, s: Snapshot, dt_ms: int) -> None:
        """Correct what was just read; ``dt_ms``: the time of its charge, 0 when it has none."""
        cells = s.cell_mv
        offsets = self._cell_mv
        gain = self.cell_bp
        for i in range(s.n_cells):
            mv = cells[i]
            cells[i] = max(mv + (mv * gain + _BP // 2) // _BP + offsets[i], 0)
        s.stack_mv += (s.stack_mv * self.stack_bp + _BP // 2) // _BP
        gain = self.current_bp
        s.current_ma += (s.current_ma * gain + _BP // 2) // _BP + self.offset_ma
        temperatures = s.temp_dc
        for i in range(N_TEMPERATURES):
            if temperatures[i] != UNKNOWN_DC:
                temperatures[i] += self._temp_dc[i]
        if dt_ms:
            # What is less than 1 uAh is kept for the next time.
            part = self._gain_part + s.delta_uah * gain
            s.delta_uah += part // _BP
            self._gain_part = part % _BP
            part = self._offset_part + self.offset_ma * dt_ms
            s.delta_uah += part // _MS
            self._offset_part = part % _MS
