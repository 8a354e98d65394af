"""Diagnosis: one table says what is a fault, from when on, for how long, and what follows.

Each row is one diagnosis: what it looks at, its levels (warn, cut, release), the switches it
forbids, whether it latches, how many samples make it active and quiet again, and how long its
switch may wait for the current to go. Where the limits begin to fall ahead of it is in ``limits``.
"Under" faults are kept with both signs turned, so that there is one comparison.

Samples are cycles; voltages and temperatures are also looked at between them, and again soon
after one has passed its cut (``hurry``): a fault must open its switch within a cycle, a single
reading must not. A sample that fails meanwhile counts against the pack.

A row that latches does so from its n-th trip on, until ``clear``; trips older than an hour of
calm are forgotten. A voltage or a temperature latches only when it lasts, and is not doubted.

Pure: integers in, bits out; nothing is allocated in judging.

    >>> diagnosis = Diagnosis(settings)
    >>> diagnosis.judge_cycle(snapshot, reported)
    >>> diagnosis.forbidden  # bits of codes.Switch
    0
"""

from array import array
from struct import pack_into

from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_FORGET_S = const(3600)
N_FAULTS = const(30)
NO_VALUE = -0x80000000
_LATCH_SAMPLES = const(3)  # for which a voltage or temperature must last
_SPREAD_WARN_MV = const(300)
_RISE_DC = const(100)  # within a minute: no load does that, a cell that runs away does

# Columns of the table.
_FAULT = const(0)
_WHAT = const(1)
_WARN = const(2)
_CUT = const(3)
_RELEASE = const(4)
_FORBIDS = const(5)
_LATCH = const(6)
_UP = const(7)
_DOWN = const(8)
_DELAY_S = const(9)

# What a row looks at: a place in the list of values, or (from _FLAGS on) a bit of ``faults``.
_HIGH_CELL = const(0)  # from here on looked at between the cycles
_LOW_CELL = const(1)
_HOT = const(2)
_COLD = const(3)
_FET = const(4)
_FAST = const(5)  # from here on in the cycles alone
_CHARGE = const(5)
_DISCHARGE = const(6)
_RISE = const(7)
_SPREAD = const(8)
_AFE_CHARGE = const(9)  # the chip's own protections, by the direction they stop
_AFE_DISCHARGE = const(10)
_FLAGS = const(11)

_AFE_PROTECTION = const(15)  # the one fault with two rows
_CHA = const(1)  # codes.Switch, as a board likes its constants best
_DIS = const(2)
_BOTH = const(3)
# Safety Status A | B << 8 | C << 16, short circuits aside: those have their own row.
_STOPS_CHARGE = const(0x16D518)  # COV OCC, UTC UTINT OTC OTINT OTF, HWDF PTO COVL
_STOPS_DISCHARGE = const(0xA2E664)  # CUV OCD1 OCD2, UTD UTINT OTD OTINT OTF, HWDF OCDL OCD3

_DOUBT = const(0x1001800)  # SENSOR_IMPLAUSIBLE, STACK_MISMATCH, OPEN_WIRE


def table(s: Settings) -> "list[tuple[int, ...]]":
    """The rows for one pack, in the order of ``codes.Fault``; see the columns' names.

    Names would cost a kilobyte of a board's flash: a test holds each row to its fault.
    """
    cells = s.profile
    rows: "list[tuple[int, ...]]" = []

    def row(
        what: int,
        warn: int,
        cut: int,
        release: int,
        forbids: int,
        latch: int = 0,
        up: int = 2,
        down: int = 5,
        delay_s: int = 0,
    ) -> None:
        rows.append((len(rows), what, warn, cut, release, forbids, latch, up, down, delay_s))

    def flag(
        forbids: int = _BOTH,
        latch: int = 0,
        up: int = 1,
        down: int = 3,
        delay_s: int = 0,
        cut: int = 0,
    ) -> None:
        row(_FLAGS + len(rows), 0, cut, 1, forbids, latch, up, down, delay_s)

    cov, cuv, deep = s.cov_mv, -s.cuv_mv, -cells.cell_deep_mv
    occ, ocd = s.occ_ma, s.ocd_ma
    otc, utc, otd, utd, otf = s.otc_dc, -s.utc_dc, s.otd_dc, -s.utd_dc, s.otf_dc
    row(_HIGH_CELL, (cells.cell_full_mv + cov) // 2, cov, s.cov_release_mv, _CHA, 0, 2, 3)
    row(_LOW_CELL, cuv - 50, cuv, -s.cuv_release_mv, _DIS, 0, 2, 3)
    row(_LOW_CELL, deep, deep, deep - 200, _BOTH, 1, 2, 3)
    row(_CHARGE, occ, occ, occ // 2, _CHA, 5, 2, 30)
    row(_DISCHARGE, ocd, ocd, ocd // 2, _DIS, 5, 2, 30)
    flag(_BOTH, 1, 1, 30)  # short circuit
    row(_HOT, otc - 20, otc, otc - 50, _CHA)
    row(_COLD, utc - 20, utc, utc - 30, _CHA)
    row(_HOT, otd - 20, otd, otd - 50, _DIS)
    row(_COLD, utd - 20, utd, utd - 30, _DIS)
    row(_FET, otf - 50, otf, otf - 150, _BOTH)
    flag(_BOTH, 0, 3, 5)  # sensor implausible
    flag(_BOTH, 0, 3, 5)  # stack mismatch
    flag()  # AFE communication
    flag()  # AFE reset
    row(_AFE_CHARGE, 0, 0, 1, _CHA, 0, 1)
    flag(_BOTH, 1)  # AFE permanent fail
    flag()  # measurement stale
    flag(_BOTH, 1, 3)  # switch mismatch
    flag()  # configuration
    flag(0)  # storage
    flag(0, 0, 1, 60)  # loop overrun
    row(_RISE, _RISE_DC // 2, _RISE_DC, _RISE_DC // 4, _BOTH, 1)
    row(_SPREAD, _SPREAD_WARN_MV, s.spread_mv, s.spread_mv // 2, _CHA, 0, 10, 30, 10)
    flag(_BOTH, 1, 2)  # open wire
    flag(0, 0, 1, 1, 0, 1)  # current offset: 0 or 1, it warns and never passes its cut
    flag(_BOTH, 1, 3)  # switch welded
    flag(_DIS, 1)  # precharge failed
    flag(_BOTH, 0, 3, 10, 10)  # insulation
    flag(0, 0, 1, 1, 0, 1)  # clock invalid, likewise
    # The chip's own protections once more, for the other direction.
    rows.append((_AFE_PROTECTION, _AFE_DISCHARGE, 0, 0, 1, _DIS, 0, 1, 5, 0))
    return rows


class Diagnosis:
    """Which faults are active, latched, near; what they forbid; what tripped them.

    ``active``, ``latched`` and ``warned`` are bits of ``codes.Fault``.
    ``forbidden``: switches that must be open now. ``leaving``: switches that must open soon, and
    may wait for the current to go. ``pending``: switches that must not be closed now, for a row
    that forbids them is on its way up. ``forbidden_for_good``: what latches alone forbid.
    """

    def __init__(self, settings: Settings) -> None:
        self.table = table(settings)
        self.active = 0
        self.latched = 0
        self.warned = 0
        self.forbidden = 0
        self.leaving = 0
        self.pending = 0
        self.forbidden_for_good = 0
        self.hurry = False  # something fast is on its way up: look again soon
        self.n_faults = 0  # trips since boot
        self.last_fault: int | None = None
        self.last_fault_s: int | None = None  # uptime
        self.last_fault_value: int | None = None  # mV, mA, 0.1 degC, or the chip's status
        # Bits of those that tripped and were not taken by the fault memory yet; by fault, what
        # tripped it (as ``last_fault_value``) and the limit that was passed, two int32 as in
        # registers: NO_VALUE is no small integer, and reading it from an array would make one.
        self.tripped = 0
        self.trips = bytearray(8 * N_FAULTS)
        self._flags = 0
        self._now_s = 0
        self._values = array("i", bytes(4 * _FLAGS))
        self._has = bytearray(_FLAGS)  # 1 where the value is known
        rows = len(self.table)
        self._active = bytearray(rows)
        self._latched = bytearray(rows)
        self._warned = bytearray(rows)
        self._count = bytearray(rows)  # samples on the way up (quiet) or down (active)
        self._held = bytearray(rows)  # samples for which it has been active, up to _LATCH_SAMPLES
        self._trips = bytearray(rows)
        self._tripped_s = array("i", bytes(4 * rows))

    def judge_cycle(self, s: Snapshot, reported: int) -> None:
        """Judge one measurement cycle, complete or not; ``reported`` are faults of others."""
        self._flags = s.faults | reported
        self._collect(s, s.valid or s.looked)
        if s.valid or s.looked:
            values = self._values
            values[_CHARGE] = s.current_ma
            values[_DISCHARGE] = -s.current_ma
            values[_RISE] = s.rise_dc
            values[_SPREAD] = s.max_mv - s.min_mv
            values[_AFE_CHARGE] = s.afe_safety & _STOPS_CHARGE
            values[_AFE_DISCHARGE] = s.afe_safety & _STOPS_DISCHARGE
            for i in range(_FAST, _FLAGS):
                self._has[i] = 1
        for i in range(len(self.table)):
            self._judge(i, True)
        self._sum_up()

    def judge_look(self, s: Snapshot, looked: bool) -> None:
        """Judge voltages and temperatures between two cycles; ``looked``: they could be read."""
        self._collect(s, looked)
        for i in range(len(self.table)):
            if self.table[i][_WHAT] < _FAST:
                self._judge(i, False)
        self._sum_up()

    def forget_latched(self, known: bool) -> bool:
        """Forget the latched faults; ``False``: one is there, or nothing is ``known``."""
        for i in range(len(self.table)):
            if self._latched[i] and (self._active[i] or self._count[i] or not known):
                return False
        for i in range(len(self.table)):
            if self._latched[i]:
                self._latched[i] = self._trips[i] = 0
        self._sum_up()
        return True

    def restore_latched(self, faults: int) -> None:
        """Latch again what was latched before the board lost its power."""
        for i in range(len(self.table)):
            if self.table[i][_LATCH] and faults >> self.table[i][_FAULT] & 1:
                self._latched[i] = 1
        self._sum_up()

    # --- one sample -----------------------------------------------------------------------

    def _collect(self, s: Snapshot, looked: bool) -> None:
        values = self._values
        has = self._has
        self._now_s = s.uptime_s
        for i in range(_FLAGS):
            has[i] = 0
        if not looked:
            return
        values[_HIGH_CELL] = s.max_mv
        values[_LOW_CELL] = -s.min_mv
        values[_HOT] = s.max_dc
        values[_COLD] = -s.min_dc
        values[_FET] = s.fet_dc
        has[_HIGH_CELL] = has[_LOW_CELL] = 1
        has[_HOT] = has[_COLD] = s.max_dc != UNKNOWN_DC
        has[_FET] = s.fet_dc != UNKNOWN_DC

    def _judge(self, i: int, cycle: bool) -> None:
        """Move one row by this sample; in between the cycles nothing gets quiet."""
        row = self.table[i]
        what = row[_WHAT]
        count = self._count
        if what >= _FLAGS:
            value = self._flags >> (what - _FLAGS) & 1
        elif self._has[what]:
            value = self._values[what]
        else:
            if what < _FAST and count[i] and not self._active[i]:
                self._rise(i, row, None)  # it may well be there
            return
        self._warned[i] = value > row[_WARN]
        if self._active[i]:
            if value >= row[_RELEASE]:
                count[i] = 0
                self._hold(i, row)
            elif cycle:
                count[i] += 1
                if count[i] >= row[_DOWN]:
                    self._active[i] = 0
                    count[i] = 0
        elif value > row[_CUT]:
            self._rise(i, row, value)
        elif count[i]:
            count[i] -= 1

    def _rise(self, i: int, row: "tuple[int, ...]", value: "int | None") -> None:
        self._count[i] += 1
        if self._count[i] >= row[_UP]:
            self._trip(i, row, value)

    def _trip(self, i: int, row: "tuple[int, ...]", value: "int | None") -> None:
        now_s = self._now_s
        self._active[i] = 1
        self._count[i] = 0
        self._held[i] = 0
        if now_s - self._tripped_s[i] > _FORGET_S:
            self._trips[i] = 0
        self._tripped_s[i] = now_s
        if self._trips[i] < 255:
            self._trips[i] += 1
        self._hold(i, row)
        fault = row[_FAULT]
        self.tripped |= 1 << fault
        self.n_faults += 1
        self.last_fault = fault
        self.last_fault_s = now_s
        what = row[_WHAT]
        limit = row[_CUT]
        if what >= _FLAGS:
            value = None
        elif what in (_LOW_CELL, _COLD, _DISCHARGE):
            limit = -limit
            if value is not None:
                value = -value
        self.last_fault_value = value
        pack_into(
            ">ll", self.trips, 8 * fault,
            NO_VALUE if value is None else value, NO_VALUE if what >= _AFE_CHARGE else limit,
        )  # fmt: skip

    def _hold(self, i: int, row: "tuple[int, ...]") -> None:
        """Latch what is to be latched: at once, but a voltage or temperature when it lasts."""
        if not row[_LATCH] or self._trips[i] < row[_LATCH]:
            return
        if row[_WHAT] < _FAST:
            if self._flags & _DOUBT:
                return
            if self._held[i] < _LATCH_SAMPLES:
                self._held[i] += 1
                return
        self._latched[i] = 1

    def _sum_up(self) -> None:
        active = latched = warned = forbidden = leaving = pending = for_good = 0
        hurry = False
        for i in range(len(self.table)):
            row = self.table[i]
            forbids = row[_FORBIDS]
            bit = 1 << row[_FAULT]
            if self._warned[i]:
                warned |= bit
            if self._active[i]:
                active |= bit
                if self._now_s - self._tripped_s[i] < row[_DELAY_S]:
                    leaving |= forbids
                else:
                    forbidden |= forbids
            elif self._count[i]:
                pending |= forbids
                if row[_WHAT] < _FAST:
                    hurry = True
            if self._latched[i]:
                latched |= bit
                for_good |= forbids
        self.active = active
        self.latched = latched
        self.warned = warned
        self.forbidden = forbidden | for_good
        self.leaving = leaving
        self.pending = pending | leaving
        self.forbidden_for_good = for_good
        self.hurry = hurry
