"""Which sense wires of an LTC6813 are open, from its cells pulled up and pulled down.

With 100 uA into the inputs of the cell being measured the node of an open wire rises, with 100 uA
out of them it falls: the cell above it reads less when pulled up than when pulled down, by more
than 400 mV. C(0) is open when the lowest cell reads 0 pulled up, the top wire when the top cell
reads 0 pulled down.

The two are converted a cycle or two apart, and a load may come or go in between. That moves all
cells alike, an open wire inside the chip two of them in opposite directions: so the mean of all
differences is taken off first. A wire counts as open when two tests on end say so.

    >>> wires.judge()
    >>> wires.open[0]  # bit n: the wire at C(n) of the first chip
    0

Source: LTC6804 and LTC6812 data sheets, open-wire check; foxBMS 2 (-400 mV).
"""

from array import array

from common.mp import const

_THRESHOLD = const(-4000)  # codes of 100 uV


class OpenWires:
    """For chips with ``cells`` cells each; ``up`` and ``down`` are filled with their codes."""

    def __init__(self, cells: "tuple[int, ...]") -> None:
        self.up = array("H", bytes(2 * sum(cells)))
        self.down = array("H", bytes(2 * sum(cells)))
        self.pulled_up = False  # whether ``up`` belongs to the test that goes on
        self.open = array("I", bytes(4 * len(cells)))  # per chip, a bit per wire from C(0) on
        self.n_open = 0
        self._suspected = array("I", bytes(4 * len(cells)))  # by the last test alone
        self._cells = cells

    def judge(self) -> None:
        """End a test: ``up`` and ``down`` hold its codes."""
        self.pulled_up = False
        self.n_open = 0
        first = 0
        for chip in range(len(self._cells)):
            n = self._cells[chip]
            suspected = self._suspect(first, n)
            is_open = suspected & self._suspected[chip]
            self._suspected[chip] = suspected
            self.open[chip] = is_open
            while is_open:
                is_open &= is_open - 1
                self.n_open += 1
            first += n

    def forget(self) -> None:
        """What was measured before does not count; what is known to be open stays so."""
        self.pulled_up = False
        for chip in range(len(self._cells)):
            self._suspected[chip] = 0

    def _suspect(self, first: int, n: int) -> int:
        up, down = self.up, self.down
        found = 0
        if up[first] == 0:
            found |= 1
        if down[first + n - 1] == 0:
            found |= 1 << n
        common = 0
        if not found:  # an end that is open moves one cell alone, by all it has
            for i in range(first, first + n):
                common += up[i] - down[i]
            common //= n
        for i in range(1, n):
            if up[first + i] - down[first + i] - common < _THRESHOLD:
                found |= 1 << i
        return found
