"""Which registers are asked for, and in which pieces.

Two rules make the plan. As few exchanges as possible: a block is one read when it fits (125
registers). And every exchange with a pack expects a number of registers of its own, so that no
late answer can pass for the answer to another request; where two would be equal, a read begins
some registers before its block and what is too much is cut off.

    >>> plan = Plan(16)
    >>> [read.count for read in plan.reads(models.HEALTH)]
    [125, 63]
"""

from __future__ import annotations

from dataclasses import dataclass

from common import models
from common.registers import HEADER_WORDS, MAX_READ_WORDS, Layout, RegisterMap

WALK_STEPS = 20  # models of a chain that are looked at, ours and foreign ones
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


class Plan:
    """The reads of one pack, from the number of its cells and where its models stand."""

    def __init__(self, n_cells: int, addresses: dict[int, int] | None = None) -> None:
        """``addresses`` maps a model's id to the address of its ID register."""
        if addresses is None:
            addresses = {b.layout.id: b.address for b in RegisterMap(n_cells).blocks}
        self.n_cells = n_cells
        self.addresses = addresses
        self.layouts = {model_id: Layout(model_id, n_cells) for model_id in models.OURS}
        self._used = {HEADER_WORDS + step for step in range(WALK_STEPS)} | {BEGIN_WORDS}
        # the polled block first: it gets the reads that carry nothing to be cut off
        order = (
            models.SNAPSHOT,
            models.HEALTH,
            models.LIFETIME,
            models.PROTECTION,
            models.DEVICE,
        )
        self._reads = {
            model_id: self._pieces(addresses[model_id], self.layouts[model_id].words)
            for model_id in order
        }
        self.recall = self._plan_recall()

    def reads(self, model_id: int) -> tuple[Read, ...]:
        """The exchanges that together give one block."""
        return self._reads[model_id]

    def _pieces(self, address: int, words: int) -> tuple[Read, ...]:
        pieces = []
        while words:
            count = min(words, MAX_READ_WORDS)
            while count in self._used and count > 1:
                count -= 1
            if words <= MAX_READ_WORDS or count in self._used:
                # the last piece: rather a little too much than one exchange more
                count = self._free_from(words)
                pieces.append(Read(address - (count - words), count, count - words))
                break
            self._used.add(count)
            pieces.append(Read(address, count))
            address += count
            words -= count
        return tuple(pieces)

    def _free_from(self, words: int) -> int:
        for count in range(words, MAX_READ_WORDS + 1):
            if count not in self._used:
                self._used.add(count)
                return count
        raise ValueError(f"{self.n_cells} cells: no plan with reads of different lengths")

    def _plan_recall(self) -> Read:
        """CONTROL and RECALL together: the answer repeats which reading was asked for."""
        control, recall = self.addresses[models.CONTROL], self.addresses[models.RECALL]
        if recall != control + self.layouts[models.CONTROL].words:
            raise ValueError("the models CONTROL and RECALL do not stand side by side")
        words = self.layouts[models.CONTROL].words + self.layouts[models.RECALL].words
        if words > MAX_READ_WORDS:
            raise ValueError(f"{self.n_cells} cells: a kept reading does not fit one read")
        count = self._free_from(words)
        return Read(control - (count - words), count, count - words)
