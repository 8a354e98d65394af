"""Analogue front ends: the chips that measure cells. One file a chip, all with this face."""

from common.mp import const

# Bits of ``Snapshot.afe_safety`` and ``afe_failed``, whichever the chip: they are those of the
# BQ76952's Safety and PF Status (A | B << 8 | C << 16), which ``protection`` sorts by direction.
SAFETY_OCC = const(0x10)  # over-current in charge
SAFETY_SCD = const(0x80)  # short circuit in discharge
SAFETY_SHORT_CIRCUIT = const(0x400080)  # that, and that it latched (SCDL)
FAILED_REFERENCE = const(0x100000)  # VREF
FAILED_MEMORY = const(0x040000)  # IRMF


class AfeError(Exception):
    """The chip did not answer, or not what it must; the message says which step."""


class AfeSettingsError(AfeError):
    """The chip answers, but is not, or does not become, what the settings ask for."""


class Afe:
    """One chip (or chain of chips) on the cells of one pack."""

    name = "afe"
    drives_switches = True  # by itself; ``False``: the board does (``Board.drive_switches``)
    signature = 0  # changes when the chip's settings change
    errors = 0  # failed bus accesses since boot

    def configure(self, settings: "object") -> None:
        """Write every setting and protection, read each back.

        ``AfeSettingsError`` when one differs. ``settings`` is a ``firmware.settings.Settings``.
        The switches are open afterwards.
        """
        raise NotImplementedError

    def read(self, snapshot: "object") -> None:
        """Fill the AFE's part of the ``Snapshot``; ``AfeError`` leaves it partly filled."""
        raise NotImplementedError

    def look(self, snapshot: "object") -> None:
        """Fill voltages, current, temperatures and switches alone, as fast as can be.

        ``AfeError`` when they cannot be had; charge and balancing are left as they are.
        """
        raise NotImplementedError

    def set_switches(self, allowed: int) -> None:
        """Allow the switches in ``allowed`` (bits of ``codes.Switch``), open all others."""
        raise NotImplementedError

    def set_balancing(self, cells: int) -> None:
        """Bleed the cells whose bits are set; the chip forgets it by itself after a while."""
        raise NotImplementedError

    def recover(self) -> None:
        """End what the chip's own protections have latched; a chip without latches does nothing.

        The firmware's latches are its own: they keep the switches open after it.
        """
