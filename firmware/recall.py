"""The readings of the last minutes: copies of the SNAPSHOT model, to be asked for by number.

One is kept in every cycle whose number is a multiple of ``every``, ``depth`` in all; the oldest
makes room. They fill what a gateway has missed; a restart of the board empties them.

    >>> ring = Recall(register_map, every=10, depth=64)
    >>> ring.record(120)  # after the SNAPSHOT model was written for cycle 120
    >>> ring.select(120)  # it now stands in the RECALL model
    True
"""

from array import array

from common import models
from common.registers import HEADER_WORDS, RegisterMap


class Recall:
    """A ring of readings; all memory is taken at the start."""

    def __init__(self, register_map: RegisterMap, every: int, depth: int) -> None:
        self.every = every
        self.depth = depth
        self._image = register_map.image
        self._block = register_map.block(models.RECALL)
        snapshot = register_map.block(models.SNAPSHOT)
        header = 2 * HEADER_WORDS  # ID and L differ between the two models, the rest is alike
        self._source = snapshot.start + header
        self._target = self._block.start + header
        self._size = 2 * snapshot.layout.words - header
        # One piece each: a heap in use may have no room for all of them side by side.
        self._readings = [bytearray(self._size) for _ in range(depth)]
        self._seqs = array("L", [0] * depth)
        self._next = 0  # place of the next reading
        self._count = 0

    @property
    def first(self) -> "int | None":
        """Number of the oldest reading kept."""
        if self._count == 0:
            return None
        return self._seqs[(self._next - self._count) % self.depth]

    @property
    def last(self) -> "int | None":
        """Number of the youngest reading kept."""
        if self._count == 0:
            return None
        return self._seqs[(self._next - 1) % self.depth]

    def record(self, seq: int) -> bool:
        """Keep the SNAPSHOT model as it stands, when ``seq`` is one to be kept."""
        if seq % self.every:
            return False
        image = self._image
        reading = self._readings[self._next]
        source = self._source
        for i in range(self._size):
            reading[i] = image[source + i]
        self._seqs[self._next] = seq
        self._next = (self._next + 1) % self.depth
        if self._count < self.depth:
            self._count += 1
        return True

    def select(self, seq: int) -> bool:
        """Put reading ``seq`` into the RECALL model; whether it is kept.

        Of one that is not, the model says whose answer it is and to which question, and no more.
        """
        for i in range(self._count):
            place = (self._next - 1 - i) % self.depth
            if self._seqs[place] == seq:
                reading = self._readings[place]
                for k in range(self._size):
                    self._image[self._target + k] = reading[k]
                return True
        block = self._block
        block.clear()
        for k in range(4):  # SnCrc
            self._image[self._target + k] = self._image[self._source + k]
        block.set("NCell", block.layout.n_cells)
        block.set("Seq", seq)
        block.set("SeqEnd", seq)
        return False
