"""Switching: the state machine between what is permitted and the switches.

A switch that a fault forbids opens at once, whatever flows. One that is only to be opened (by
command, or by a fault that leaves time) opens when the current has gone, for which the limits
are 0 meanwhile, and after ``PATIENCE_MS`` in any case. A switch closes only when this cycle knows
enough (``closable``).

Before the discharge switch closes, with ``precharge_ms`` set, what hangs on the terminals is
charged through a resistor, until its measured voltage is within ``precharge_mv`` of the stack.
When it does not get there in time all is opened for ``PAUSE_MS``, and tried again;
``precharge_tries`` of these in a row are ``precharge_failed``. A BQ76952 closes the discharge
switch itself as soon as the voltage is there; contactors, and switches that the board drives, are
closed by the firmware.

Contactors carry both directions: with them a switch that is forbidden forbids the other as well.

Pure: integers in, bits out; nothing is allocated.

    >>> switching = Switching(settings)
    >>> switching.update(snapshot, 1000, permitted, leaving, closable)
    >>> switching.allowed  # what the AFE is to be told

The states and their transitions are drawn in docs/firmware.md.
"""

from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_MV, Snapshot

_PATIENCE_MS = const(10000)
_PAUSE_MS = const(10000)  # between two tries: the resistor cools
_QUIET_PARTS = const(50)  # a current this many times below the rating is none

_DISCHARGE = const(2)  # codes.Switch
_BOTH = const(3)
_PREDISCHARGE = const(8)


class Switching:
    """``allowed``: bits of ``codes.Switch``; ``opening`` and ``precharging``: what goes on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._quiet_ma = settings.rated_mah // _QUIET_PARTS
        self._by_chip = settings.afe == "bq76952" and not settings.contactors
        self._path = _PREDISCHARGE | (_DISCHARGE if self._by_chip else 0)
        self.allowed = 0
        self.connected = True  # by command
        self.opening = False
        self.precharging = False
        self.precharge_failed = False  # nothing more is tried until who reads it clears it
        self._tries = 0
        self._ms = 0  # for which it opens or precharges; of a pause when negative

    def update(self, s: Snapshot, dt_ms: int, permitted: int, leaving: int, closable: int) -> None:
        """Take one sample, ``dt_ms`` after the last one.

        ``permitted``: no fault forbids them. ``leaving``: to be opened soon. ``closable``: they
        may be closed just now.
        """
        if self._settings.contactors and permitted != _BOTH:
            permitted = 0
        if self.precharging:
            self._precharge(s, dt_ms, permitted & ~leaving & closable)
            return
        allowed = self.allowed & permitted
        wanted = permitted & ~leaving if self.connected else 0
        if self._settings.contactors and wanted != _BOTH:
            wanted = 0
        opening = bool(allowed & ~wanted)
        if opening:
            if not self.opening:
                self._ms = 0
            else:
                self._ms += dt_ms
            known = s.valid or s.looked
            if not known or self._is_quiet(s) or self._ms >= _PATIENCE_MS:
                allowed &= wanted
                opening = False
        else:
            self._ms = min(self._ms + dt_ms, 0)
        self.opening = opening
        add = wanted & closable & ~allowed
        if add & _DISCHARGE and self._settings.precharge_ms and not self._is_charged(s):
            # The direction that needs no precharge waits for it: one thing after the other.
            add = 0
            if not opening and not self._ms and not self.precharge_failed:
                self.precharging = True
                allowed |= self._path
        self.allowed = allowed | add

    def _is_quiet(self, s: Snapshot) -> bool:
        return -self._quiet_ma <= s.current_ma <= self._quiet_ma

    def _is_charged(self, s: Snapshot) -> bool:
        if s.load_mv == UNKNOWN_MV:
            return False
        return s.stack_mv - s.load_mv <= self._settings.precharge_mv

    def _precharge(self, s: Snapshot, dt_ms: int, permitted: int) -> None:
        self._ms += dt_ms
        known = s.valid or s.looked
        late = self._ms >= self._settings.precharge_ms
        if permitted & _DISCHARGE and self.connected and known and not late:
            closed = not self._by_chip or s.switches & _DISCHARGE
            if not closed or not self._is_charged(s):
                return
            self.allowed = permitted
            self._tries = 0
            self._ms = 0
        else:
            self.allowed = 0
            self._ms = -_PAUSE_MS
            if late:
                self._tries += 1
                if self._tries >= self._settings.precharge_tries:
                    self.precharge_failed = True
                    self._tries = 0
        self.precharging = False
