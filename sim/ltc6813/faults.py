"""What goes wrong on purpose on the chain, and what the chips refused."""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """Switches a test or a scenario sets; the chain counts the ``..._next`` ones down.

    Chips count from 0 at the host. ``open_wires`` holds ``(chip, n)`` for a broken wire to pin
    C(n), n from 0 to 18; ``thermistors`` maps ``(chip, n)`` of GPIO n (from 1) to ``"open"`` or
    ``"short"``.
    """

    corrupt_answer_next: int = 0  # so many transfers have one bit wrong in what the host reads
    corrupt_request_next: int = 0  # ... in the command that the chips hear
    miso_stuck: int | None = None  # 0x00 or 0xFF: what the host reads; the chips still hear
    dead_from: int | None = None  # this chip and those above neither hear nor answer
    open_wires: set[tuple[int, int]] = field(default_factory=set)
    thermistors: dict[tuple[int, int], str] = field(default_factory=dict)
    mux_fails: set[int] = field(default_factory=set)  # chips whose multiplexer is broken


@dataclass
class Ignored:
    """How often a chip dropped what it heard, by reason."""

    command_pec: int = 0
    data_pec: int = 0  # the frame of one chip was wrong or missing
    not_awake: int = 0  # a transfer that found a chip sleeping, idle or still waking
