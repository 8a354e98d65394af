"""The switches of a board that drives them itself: lines out, feedback lines back.

A line closes its switch unless the current monitor's alert holds all of them open, which is wired
and asks no firmware. The feedback is taken behind the switches, so it shows a welded one. With a
BQ76952 they are contactors, in place of the FETs that the chip drives.

    >>> switches = Switches()
    >>> switches.drive(Switch.CHARGE | Switch.DISCHARGE)
    >>> switches.stuck_open = Switch.CHARGE
    >>> switches.closed == Switch.DISCHARGE
    True
"""

from __future__ import annotations

from common.codes import Switch

_ALL = Switch.CHARGE | Switch.DISCHARGE | Switch.PRECHARGE | Switch.PREDISCHARGE


class Switches:
    """Bits are those of ``codes.Switch``. ``welded`` and ``stuck_open`` are faults to be set."""

    def __init__(self) -> None:
        self.lines = 0
        self.held_open = False  # by the alert
        self.welded = 0  # these cannot open
        self.stuck_open = 0  # these cannot close

    def drive(self, bits: int) -> None:
        """Set the lines; ``ValueError`` for a bit that is no switch."""
        if bits & ~_ALL:
            raise ValueError(f"switch lines 0x{bits:02X}: there are only 0x{_ALL:02X}")
        self.lines = bits

    def feedback(self) -> int:
        """Read the feedback lines."""
        return self.closed

    @property
    def closed(self) -> int:
        """The switches that conduct, as the feedback lines show them."""
        wanted = 0 if self.held_open else self.lines
        return (wanted & ~self.stuck_open) | self.welded
