"""Analogue front ends: the chips that measure cells. One file a chip, all with this face."""


class AfeError(Exception):
    """The chip did not answer, or not what it must; the message says which step."""


class AfeSettingsError(AfeError):
    """The chip answers, but is not, or does not become, what the settings ask for."""


class Afe:
    """One chip (or chain of chips) on the cells of one pack."""

    name = "afe"
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
