"""Protection: one table says what is a fault, when, and which switch it holds open.

Each row of the table is one diagnosis. A measured value above ``trip`` for ``up`` cycles makes it
active; below ``release`` for ``down`` cycles makes it quiet again. "Under" faults are kept with
both signs turned, so that there is one comparison. A row with ``latch`` = n stays latched from
its n-th trip on, until ``clear_latched``; trips older than an hour of calm are forgotten.

A switch is *opened* by an active or latched row that forbids it. It is *closed* only when, beyond
that, this cycle's measurement is complete, temperatures are known, and no row that forbids it is
on its way up: what is not known never closes a switch.

Integers only, and nothing is allocated in ``update``.

    >>> protection = Protection(settings)
    >>> protection.update(snapshot)
    >>> measurement.set_switches(protection.allowed)
"""

from array import array

from common.codes import CommandResult, Fault, State, Switch
from common.mp import const
from firmware.limits import Limits
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

START_CYCLES = const(3)  # complete measurements before a switch may close
FORGET_S = const(3600)

# What a row looks at: a place in the list of values, or (from _FLAGS on) a bit of ``faults``.
_HIGH_CELL = const(0)
_LOW_CELL = const(1)
_CHARGE = const(2)
_DISCHARGE = const(3)
_HOT = const(4)
_COLD = const(5)
_FET = const(6)
_AFE_CHARGE = const(7)  # the chip's own protections, by the direction they stop
_AFE_DISCHARGE = const(8)
_FLAGS = const(9)

_BOTH = Switch.CHARGE | Switch.DISCHARGE
# Safety Status A | B << 8 | C << 16, short circuits aside: those have their own row.
_STOPS_CHARGE = const(0x16D518)  # COV OCC, UTC UTINT OTC OTINT OTF, HWDF PTO COVL
_STOPS_DISCHARGE = const(0xA2E664)  # CUV OCD1 OCD2, UTD UTINT OTD OTINT OTF, HWDF OCDL OCD3


def _table(s: Settings) -> "tuple[tuple[int, ...], ...]":
    """Rows of (fault, value, trip, release, up, down, forbids, latch)."""
    f = Fault
    deep_mv = s.profile.cell_deep_mv
    charge = Switch.CHARGE
    discharge = Switch.DISCHARGE

    def flag(fault: int, up: int, down: int, forbids: int, latch: int) -> "tuple[int, ...]":
        return (fault, _FLAGS + fault, 0, 1, up, down, forbids, latch)

    return (
        (f.CELL_OVER_VOLTAGE, _HIGH_CELL, s.cov_mv, s.cov_release_mv, 2, 3, charge, 0),
        (f.CELL_UNDER_VOLTAGE, _LOW_CELL, -s.cuv_mv, -s.cuv_release_mv, 3, 3, discharge, 0),
        (f.CELL_DEEP_DISCHARGE, _LOW_CELL, -deep_mv, -deep_mv - 200, 3, 3, _BOTH, 1),
        (f.CHARGE_OVER_CURRENT, _CHARGE, s.occ_ma, s.occ_ma // 2, 2, 30, charge, 5),
        (f.DISCHARGE_OVER_CURRENT, _DISCHARGE, s.ocd_ma, s.ocd_ma // 2, 2, 30, discharge, 5),
        flag(f.SHORT_CIRCUIT, 1, 30, _BOTH, 1),
        (f.CHARGE_OVER_TEMPERATURE, _HOT, s.otc_dc, s.otc_dc - 50, 3, 5, charge, 0),
        (f.CHARGE_UNDER_TEMPERATURE, _COLD, -s.utc_dc, -s.utc_dc - 30, 3, 5, charge, 0),
        (f.DISCHARGE_OVER_TEMPERATURE, _HOT, s.otd_dc, s.otd_dc - 50, 3, 5, discharge, 0),
        (f.DISCHARGE_UNDER_TEMPERATURE, _COLD, -s.utd_dc, -s.utd_dc - 30, 3, 5, discharge, 0),
        (f.FET_OVER_TEMPERATURE, _FET, s.otf_dc, s.otf_dc - 150, 2, 5, _BOTH, 0),
        flag(f.SENSOR_IMPLAUSIBLE, 3, 5, _BOTH, 0),
        flag(f.STACK_MISMATCH, 3, 5, _BOTH, 0),
        flag(f.AFE_COMMUNICATION, 1, 3, _BOTH, 0),
        flag(f.AFE_RESET, 1, 3, _BOTH, 0),
        (f.AFE_PROTECTION, _AFE_CHARGE, 0, 1, 1, 5, charge, 0),
        (f.AFE_PROTECTION, _AFE_DISCHARGE, 0, 1, 1, 5, discharge, 0),
        flag(f.AFE_PERMANENT_FAIL, 1, 3, _BOTH, 1),
        flag(f.MEASUREMENT_STALE, 1, 3, _BOTH, 0),
        flag(f.SWITCH_MISMATCH, 3, 3, _BOTH, 1),
        flag(f.CONFIGURATION, 1, 3, _BOTH, 0),
        flag(f.STORAGE, 1, 3, 0, 0),
        flag(f.LOOP_OVERRUN, 1, 60, 0, 0),
    )


class Protection:
    """Faults, latches, the switches that may be closed, the limits, and the state."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = _table(settings)
        self.reported = 0  # bits of codes.Fault that other parts of the firmware report
        self.active = 0  # bits of codes.Fault
        self.latched = 0
        self.allowed = 0  # bits of codes.Switch
        self.state = State.START
        self.connected = True
        self.n_faults = 0  # trips since boot
        self.last_fault: int | None = None
        self.last_fault_s: int | None = None  # uptime
        self.last_fault_value: int | None = None  # mV, mA, 0.1 degC, or the chip's status
        self._limits = Limits(settings)
        self._ready = 0  # complete cycles seen, up to START_CYCLES
        self._known = False  # this cycle's measurement may close a switch
        self._values = array("i", bytes(4 * _FLAGS))
        self._has = bytearray(_FLAGS)  # 1 where the value is known
        rows = len(self.table)
        self._active = bytearray(rows)
        self._latched = bytearray(rows)
        self._count = bytearray(rows)  # cycles on the way up (quiet) or down (active)
        self._trips = bytearray(rows)
        self._tripped_s = array("i", bytes(4 * rows))
        self._publish_limits()

    def update(self, snapshot: Snapshot) -> None:
        """Judge one measurement cycle, valid or not."""
        self._collect(snapshot)
        forbidden = 0
        pending = 0
        active = 0
        latched = 0
        for i in range(len(self.table)):
            row = self.table[i]
            self._judge(i, row, snapshot)
            if self._active[i]:
                active |= 1 << row[0]
                forbidden |= row[6]
            elif self._count[i]:
                pending |= row[6]
            if self._latched[i]:
                latched |= 1 << row[0]
                forbidden |= row[6]
        self.active = active
        self.latched = latched
        self._decide(forbidden, pending)
        ready = self._ready >= START_CYCLES and self.connected
        self._limits.update(snapshot, self._known, ready, forbidden)
        self._publish_limits()

    def clear_latched(self) -> int:
        """Forget the latched faults; refused while one is still there or nothing is known."""
        for i in range(len(self.table)):
            if self._latched[i] and (self._active[i] or self._count[i] or not self._known):
                return CommandResult.REFUSED_UNSAFE
        for i in range(len(self.table)):
            if self._latched[i]:
                self._latched[i] = 0
                self._trips[i] = 0
        self.latched = 0
        return CommandResult.DONE

    def connect(self) -> int:
        """Close the switches as soon as they may; refused while a latched fault stands."""
        if self.latched:
            return CommandResult.REFUSED_UNSAFE
        self.connected = True
        return CommandResult.DONE

    def disconnect(self) -> int:
        """Open both switches with the next cycle."""
        self.connected = False
        return CommandResult.DONE

    def use_settings(self, settings: Settings) -> None:
        """Judge by other limits from the next cycle on; what is active or latched stays so."""
        self.table = _table(settings)

    def restore_latched(self, faults: int) -> None:
        """Latch again what was latched before the board lost its power."""
        for i in range(len(self.table)):
            row = self.table[i]
            if row[7] and faults >> row[0] & 1:
                self._latched[i] = 1
                self.latched |= 1 << row[0]

    # --- one cycle ------------------------------------------------------------------------

    def _collect(self, s: Snapshot) -> None:
        values = self._values
        has = self._has
        self._flags = s.faults | self.reported
        self._known = s.valid and s.max_dc != UNKNOWN_DC
        for i in range(_FLAGS):
            has[i] = s.valid
        if not s.valid:
            return
        values[_HIGH_CELL] = s.max_mv
        values[_LOW_CELL] = -s.min_mv
        values[_CHARGE] = s.current_ma
        values[_DISCHARGE] = -s.current_ma
        values[_HOT] = s.max_dc
        values[_COLD] = -s.min_dc
        values[_FET] = s.fet_dc
        values[_AFE_CHARGE] = s.afe_safety & _STOPS_CHARGE
        values[_AFE_DISCHARGE] = s.afe_safety & _STOPS_DISCHARGE
        has[_HOT] = s.max_dc != UNKNOWN_DC
        has[_COLD] = s.min_dc != UNKNOWN_DC
        has[_FET] = s.fet_dc != UNKNOWN_DC
        if self._ready < START_CYCLES and self._known:
            self._ready += 1

    def _judge(self, i: int, row: "tuple[int, ...]", s: Snapshot) -> None:
        """Move one row's counter by this cycle; an unknown value moves nothing."""
        what = row[1]
        if what >= _FLAGS:
            value = self._flags >> (what - _FLAGS) & 1
        elif self._has[what]:
            value = self._values[what]
        else:
            return
        count = self._count
        if self._active[i]:
            if value >= row[3]:
                count[i] = 0
            else:
                count[i] += 1
                if count[i] >= row[5]:
                    self._active[i] = 0
                    count[i] = 0
        elif value > row[2]:
            count[i] += 1
            if count[i] >= row[4]:
                self._trip(i, row, value, s)
        elif count[i]:
            count[i] -= 1

    def _trip(self, i: int, row: "tuple[int, ...]", value: int, s: Snapshot) -> None:
        self._active[i] = 1
        self._count[i] = 0
        if s.uptime_s - self._tripped_s[i] > FORGET_S:
            self._trips[i] = 0
        self._tripped_s[i] = s.uptime_s
        if self._trips[i] < 255:
            self._trips[i] += 1
        if row[7] and self._trips[i] >= row[7]:
            self._latched[i] = 1
        self.n_faults += 1
        self.last_fault = row[0]
        self.last_fault_s = s.uptime_s
        what = row[1]
        if what in (_LOW_CELL, _COLD):
            self.last_fault_value = -value
        elif what == _DISCHARGE:
            self.last_fault_value = s.current_ma
        elif what < _FLAGS:
            self.last_fault_value = value
        else:
            self.last_fault_value = None

    def _decide(self, forbidden: int, pending: int) -> None:
        may = _BOTH & ~forbidden if self._ready >= START_CYCLES else 0
        close = _BOTH & ~pending if self._known else 0
        self.allowed = may & (self.allowed | close) if self.connected else 0
        if self.latched and not may and self._forbidden_for_good() == _BOTH:
            self.state = State.FAULT
        elif self._ready < START_CYCLES:
            self.state = State.START
        elif not may:
            self.state = State.BLOCKED
        elif not self.connected:
            self.state = State.STANDBY
        elif self.allowed == _BOTH:
            self.state = State.ON
        elif self.allowed == Switch.CHARGE:
            self.state = State.CHARGE_ONLY
        elif self.allowed == Switch.DISCHARGE:
            self.state = State.DISCHARGE_ONLY
        else:
            self.state = State.BLOCKED

    def _forbidden_for_good(self) -> int:
        forbidden = 0
        for i in range(len(self.table)):
            if self._latched[i]:
                forbidden |= self.table[i][6]
        return forbidden

    def _publish_limits(self) -> None:
        limits = self._limits
        self.ccl_ma = limits.ccl_ma
        self.dcl_ma = limits.dcl_ma
        self.cvl_mv = limits.cvl_mv
        self.ccl_why = limits.ccl_why
        self.dcl_why = limits.dcl_why
