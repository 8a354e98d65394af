"""Which readings of a pack are still to be collected.

A board keeps every ``RecEvery``-th reading in a ring; a gateway that was away fetches what it
missed. ``Progress`` is what is remembered of a pack: every kept reading up to ``seq`` of this
``boot`` is collected (or known to be lost), and those in ``ahead`` as well, for the current
reading is published before the older ones have been fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """How far one pack is collected."""

    boot: int
    seq: int = 0
    ahead: frozenset[int] = frozenset()

    def has(self, seq: int) -> bool:
        """Whether the kept reading ``seq`` is collected."""
        return seq <= self.seq or seq in self.ahead

    def with_live(self, seq: int, every: int) -> Progress:
        """After the current reading ``seq`` was collected."""
        if seq % every or self.has(seq):
            return self
        return replace(self, ahead=self.ahead | {seq}).settled(every)

    def advanced_to(self, seq: int, every: int) -> Progress:
        """After everything up to ``seq`` was collected or is lost for good."""
        if seq <= self.seq:
            return self
        return Progress(self.boot, seq, frozenset(s for s in self.ahead if s > seq)).settled(every)

    def settled(self, every: int) -> Progress:
        """``ahead`` taken into ``seq`` as far as it follows on without a hole."""
        seq, ahead = self.seq, set(self.ahead)
        following = next_kept(seq, every)
        while following in ahead:
            ahead.remove(following)
            seq, following = following, following + every
        return Progress(self.boot, seq, frozenset(ahead))

    def missing(self, newest: int, every: int) -> range:
        """Numbers of the kept readings between ``seq`` and ``newest``, ``ahead`` among them."""
        return range(next_kept(self.seq, every), newest + 1, every)


def next_kept(seq: int, every: int) -> int:
    """The first kept reading after ``seq``."""
    return (seq // every + 1) * every
