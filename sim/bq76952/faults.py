"""What goes wrong on purpose, and what the chip refused."""

from dataclasses import dataclass, fields


class Nack(Exception):  # noqa: N818 - the bus's own word for it
    """The chip did not acknowledge; the message says which byte and why."""


class UnknownAccess(Exception):  # noqa: N818 - as Nack
    """The host used something that is not modelled; the message says what."""


@dataclass
class Faults:
    """Switches a test or a scenario sets; the chip counts the ``..._next`` ones down.

    ``open_wire_above`` is a cell number from 0: the sense wire between that cell and the one above
    has come off. The cell then reads lower with every open-wire check, its neighbour higher, and
    their sum stays.
    """

    nack_next: int = 0  # so many transactions are not acknowledged
    corrupt_crc_next: int = 0  # so many reads carry a wrong CRC (a wrong bit where CRC is off)
    hold_sda_next: int = 0  # so many transactions break off with SDA held low until ``clock_bus``
    sda_stuck: bool = False  # ... and then no clock frees it
    busy_next: int = 0  # so many subcommands never complete; the next one given replaces them
    stuck_busy: bool = False  # no subcommand ever completes
    dead: bool = False  # no power: no acknowledge, FETs open
    chip_failure: int = 0  # bits of PF C: what the chip finds wrong with itself
    open_wire_above: int | None = None


@dataclass
class RejectedWrites:
    """How often a write was dropped, by reason."""

    crc: int = 0
    checksum: int = 0
    length: int = 0
    not_in_config_update: int = 0
    read_only: int = 0
    sealed: int = 0
    out_of_range: int = 0
    host_control_disabled: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))
