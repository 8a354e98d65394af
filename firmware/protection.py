"""Protection: what the diagnosis finds, the commands and the switches, put together.

A switch is *opened* by a fault that forbids it. It is *closed* only when, beyond that, the
self-test is through (``START_CYCLES`` complete measurements), this cycle's measurement is
complete, temperatures are known, and nothing that forbids it is on its way up: what is not known
never closes a switch. A command to connect is refused unless that is so now.

Integers only, and nothing is allocated in ``update`` and ``look``.

    >>> protection = Protection(settings)
    >>> protection.update(snapshot)  # each cycle
    >>> measurement.set_switches(protection.allowed)
    >>> protection.look(seen, measurement.look(seen))  # between two cycles
"""

from common.codes import CommandResult, LimitReason, State, Switch
from common.mp import const
from firmware.diagnosis import Diagnosis, table
from firmware.limits import Limits
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.switching import Switching

_START_CYCLES = const(3)  # complete measurements before a switch may close

_BOTH = const(3)  # codes.Switch
_PRECHARGE_FAILED = const(1 << 27)  # PRECHARGE_FAILED
_REFUSED = (State.START, State.BLOCKED, State.FAULT)


class Protection(Diagnosis):
    """Faults, latches, the switches that may be closed, the limits, and the state."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.switching = Switching(settings)
        self.limits = Limits(settings)
        self.reported = 0  # bits of codes.Fault that other parts of the firmware report
        self.allowed = 0  # bits of codes.Switch
        self.state = State.START
        self.connected = True  # by command
        self.service = False  # likewise: somebody works on the pack
        self.shut_down = False
        self._ready = 0  # complete cycles seen, up to _START_CYCLES
        self._known = False  # this cycle's measurement may close a switch
        self._publish()

    def update(self, s: Snapshot) -> None:
        """Judge one measurement cycle, complete or not."""
        self._known = s.valid and s.max_dc != UNKNOWN_DC
        if self._ready < _START_CYCLES and self._known:
            self._ready += 1
        reported = self.reported
        if self.switching.precharge_failed:
            self.switching.precharge_failed = False
            reported |= _PRECHARGE_FAILED
        self.judge_cycle(s, reported)
        self._switch(s)
        self.limits.update(s, self._known, self._stopped(), self.forbidden | self.leaving)
        self._publish()

    def look(self, s: Snapshot, looked: bool) -> None:
        """Judge a look between two cycles; ``looked``: it brought figures."""
        self.judge_look(s, looked)
        if not looked:
            self._known = False
        self._switch(s)
        self.limits.update(s, False, LimitReason.NONE, self.forbidden)
        self._publish()

    # --- commands -------------------------------------------------------------------------

    def clear_latched(self) -> int:
        """Forget the latched faults; refused while one is still there or nothing is known."""
        if self.forget_latched(self._known):
            return CommandResult.DONE
        return CommandResult.REFUSED_UNSAFE

    def connect(self) -> int:
        """Close the switches; refused unless one may be closed now."""
        if self.latched or self.service or self.shut_down or self.state in _REFUSED:
            return CommandResult.REFUSED_UNSAFE
        self.connected = True
        return CommandResult.DONE

    def disconnect(self) -> int:
        """Open the switches: with the next cycle, or as soon as the current has gone."""
        self.connected = self.service = False
        return CommandResult.DONE

    def use_settings(self, settings: Settings) -> None:
        """Judge by other limits from the next sample on; what is active or latched stays so.

        The other parts look into the settings they were made with, which are these.
        """
        self.table = table(settings)

    def enter_service(self) -> int:
        """Open the switches and refuse to connect them until ``disconnect``."""
        self.connected = False
        self.service = True
        return CommandResult.DONE

    def shutdown(self) -> int:
        """Open the switches for good: until the next start."""
        self.shut_down = True
        return CommandResult.DONE

    # --- one sample -----------------------------------------------------------------------

    def _switch(self, s: Snapshot) -> None:
        permitted = _BOTH & ~self.forbidden if self._ready >= _START_CYCLES else 0
        closable = _BOTH & ~self.pending if self._known else 0
        switching = self.switching
        switching.connected = self.connected and not self.shut_down
        switching.update(s, s.since_ms, permitted, self.leaving, closable)
        self.allowed = switching.allowed
        self.hurry = self.hurry or switching.precharging
        self.state = self._state()

    def _state(self) -> int:
        allowed = self.allowed
        if self.switching.opening:
            return State.OPENING
        if self.shut_down:
            return State.SHUTDOWN
        if self.service:
            return State.SERVICE
        if self.forbidden_for_good == _BOTH:
            return State.FAULT
        if self._ready < _START_CYCLES:
            return State.START
        if self.forbidden == _BOTH:
            return State.BLOCKED
        if not self.connected:
            return State.STANDBY
        if self.switching.precharging:
            return State.PRECHARGE
        if allowed == _BOTH:
            return State.ON
        if allowed == Switch.CHARGE:
            return State.CHARGE_ONLY
        return State.DISCHARGE_ONLY if allowed else State.BLOCKED

    def _stopped(self) -> int:
        """Why the pack offers no current at all."""
        if self._ready < _START_CYCLES:
            return LimitReason.NOT_READY
        if not self.switching.connected:
            return LimitReason.DISCONNECTED
        return LimitReason.PRECHARGE if self.switching.precharging else LimitReason.NONE

    def _publish(self) -> None:
        limits = self.limits
        self.ccl_ma = limits.ccl_ma
        self.dcl_ma = limits.dcl_ma
        self.cvl_mv = limits.cvl_mv
        self.ccl_why = limits.ccl_why
        self.dcl_why = limits.dcl_why
        self.cvl_why = limits.cvl_why
