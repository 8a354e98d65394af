"""The alarm word: what is raised now (raw), what the host has let through, what has latched."""

from . import registers as reg
from .fets import Fets
from .permanent import PermanentFails
from .protections import Protections


class Alarm:
    """``status`` latches ``raw & enable``; the host clears bits by writing ones."""

    def __init__(self) -> None:
        self.status = self.raw = self.enable = 0
        self._initialised = False

    def reset(self) -> None:
        """Power-on: nothing raised, the first full scan still to come."""
        self.status = self.raw = 0
        self._initialised = False

    def write_status(self, byte: int, shift: int) -> None:
        """Clear the bits that are one in ``byte``."""
        self.status &= ~(byte << shift)

    def write_enable(self, byte: int, shift: int) -> None:
        """Replace one byte of the mask."""
        self.enable = self.enable & ~(0xFF << shift) | byte << shift

    def step(
        self,
        p: Protections,
        permanent: PermanentFails,
        fets: Fets,
        balancing: bool,
        scanned: bool,
        full_scan: bool,
    ) -> None:
        """Raise what holds now and latch what the mask lets through."""
        raw = 0 if fets.charge_gate else reg.AL_XCHG
        if not fets.discharge_gate:
            raw |= reg.AL_XDSG
        if p.status[0]:
            raw |= reg.AL_SSA
        if p.status[1] or p.status[2]:
            raw |= reg.AL_SSBC
        if any(p.alert):
            raw |= reg.AL_SAFETY_ALERT
        if any(permanent.status):
            raw |= reg.AL_PF
        if any(permanent.alert):
            raw |= reg.AL_PF_ALERT
        if balancing:
            raw |= reg.AL_CB
        if scanned:
            raw |= reg.AL_ADSCAN
        if full_scan:
            raw |= reg.AL_FULLSCAN
            self._initialised = True
        if self._initialised:
            raw |= reg.AL_INITCOMP
        self.raw = raw
        self.status |= raw & self.enable
