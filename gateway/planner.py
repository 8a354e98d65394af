"""Which registers are asked for, and in which pieces.

Two rules make the plan. As few exchanges as possible: a block is one read when it fits (125
registers). And every exchange with a pack expects a number of registers of its own, so that no
late answer can pass for the answer to another request; where two would be equal, a read begins
some registers before its block and what is too much is cut off.

    >>> plan = Plan(16)
    >>> [read.count for read in plan.reads(models.HEALTH)]
    [124, 62]
"""

from __future__ import annotations

from dataclasses import dataclass

from common import models
from common.registers import HEADER_WORDS, MAX_READ_WORDS, Layout, RegisterMap

WALK_STEPS = 20  # models of a chain that are looked at, ours and foreign ones
DETAIL_BLOCKS = (
    models.HEALTH,
    models.LIFETIME,
    models.PROTECTION,
    models.DEVICE,
    models.ENERGY,
    models.TEST,
    models.SETTINGS,
    models.HISTORY,
)
_VERSION_OFFSET = Layout(models.DEVICE, 1).offset("MapVer")
BEGIN_WORDS = 2 + Layout(models.COMMON, 1).words  # "SunS" and the common model, one read


@dataclass(frozen=True)
class Read:
    """One exchange: ``count`` registers from ``address``, of which the first ``skip`` are cut."""

    address: int
    count: int
    skip: int = 0

    def cut(self, data: bytes) -> bytes:
        """What the read is for, of the answer's data."""
        return data[2 * self.skip :]


def begin_read() -> Read:
    """``SunS`` and the common model: how every pack is met."""
    return Read(models.BASE_ADDRESS, BEGIN_WORDS)


def walk_read(header_address: int, step: int) -> Read:
    """The header of the ``step``-th model behind the common one (from 0).

    It begins ``step`` registers earlier, for every step must expect a number of its own.
    """
    if not 0 <= step < WALK_STEPS:
        raise ValueError(f"the chain of models is longer than {WALK_STEPS}")
    return Read(header_address - step, HEADER_WORDS + step, step)


def version_read(device_address: int) -> Read:
    """The version of the register map: the only read of one register."""
    return Read(device_address + _VERSION_OFFSET, 1)


class Plan:
    """The reads of one pack, from the number of its cells and where its models stand.

    ``recall`` answers a request that chooses a kept reading and reads RECALL, ``fault`` likewise a
    fault and FAULTS, ``command`` one that writes into CONTROL and reads it back, ``settings`` one
    that chooses a setting in SETTINGS.
    """

    def __init__(self, n_cells: int, addresses: dict[int, int] | None = None) -> None:
        """``addresses`` maps a model's id to the address of its ID register."""
        if addresses is None:
            addresses = {b.layout.id: b.address for b in RegisterMap(n_cells).blocks}
        self.n_cells = n_cells
        self.addresses = addresses
        self.layouts = {model_id: Layout(model_id, n_cells) for model_id in models.OURS}
        self._used = {HEADER_WORDS + step for step in range(WALK_STEPS)} | {BEGIN_WORDS}
        # the polled block first: it gets the reads that carry nothing to be cut off; then what
        # must be one read, then the blocks from the shortest, for long ones have more choice
        self._reads = {models.SNAPSHOT: self._pieces(models.SNAPSHOT)}
        self.recall = self._one_piece(addresses[models.RECALL], self.layouts[models.RECALL].words)
        self.fault = self._one_piece(addresses[models.FAULTS], self.layouts[models.FAULTS].words)
        self.command = self._one_piece(
            addresses[models.CONTROL], self.layouts[models.CONTROL].words
        )
        self.settings = self._one_piece(
            addresses[models.SETTINGS], self.layouts[models.SETTINGS].words
        )
        for model_id in sorted(DETAIL_BLOCKS, key=lambda each: self.layouts[each].words):
            self._reads[model_id] = self._pieces(model_id)

    def reads(self, model_id: int) -> tuple[Read, ...]:
        """The exchanges that together give one block."""
        return self._reads[model_id]

    def _pieces(self, model_id: int) -> tuple[Read, ...]:
        address, words = self.addresses[model_id], self.layouts[model_id].words
        pieces = []
        while (count := self._shortest_free(words)) is None:
            count = max(self._free())
            self._used.add(count)
            pieces.append(Read(address, count))
            address += count
            words -= count
        return (*pieces, self._one_piece(address, words))

    def _one_piece(self, address: int, words: int) -> Read:
        count = self._shortest_free(words)
        if count is None:
            raise ValueError(f"{self.n_cells} cells: no read of {words} registers is left")
        self._used.add(count)
        return Read(address - (count - words), count, count - words)

    def _free(self) -> set[int]:
        """Numbers of registers that no read has yet."""
        free = set(range(HEADER_WORDS, MAX_READ_WORDS + 1)) - self._used
        if not free:
            raise ValueError(f"{self.n_cells} cells: no plan with reads of different lengths")
        return free

    def _shortest_free(self, words: int) -> int | None:
        """The fewest registers that hold ``words`` and that no read has yet."""
        return min((count for count in self._free() if count >= words), default=None)
