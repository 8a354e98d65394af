"""What the chips of a chain are told: reference on, pull-downs off, and which cells to bleed.

Writing is not acknowledged, and a chip that was reset or whose watchdog ended (some 2 s without a
command) has cleared it all, so it is read back after each writing and in each reading.

    >>> config = ChainConfig(bus, (12, 12))
    >>> config.lay_out(0b101)
    >>> config.write()
    True

Source: LTC6813-1 data sheet, configuration register groups A and B.
"""

from array import array

from common.mp import const
from firmware.afe import ltc6813_registers as reg
from firmware.afe.ltc6813_bus import Ltc6813Bus

_PASSES = const(3)  # of writing and reading back


class ChainConfig:
    """Of chips with ``cells`` cells each."""

    def __init__(self, bus: Ltc6813Bus, cells: "tuple[int, ...]") -> None:
        self.a = bytearray(reg.GROUP_BYTES * len(cells))
        self.b = bytearray(reg.GROUP_BYTES * len(cells))
        self.bled = 0  # bit per cell, as laid out
        self.timers = False  # whether the discharge timers of all chips are enabled (pin DTEN)
        self._told = array("I", bytes(4 * len(cells)))  # bit per cell of each chip ...
        self._found = array("I", bytes(4 * len(cells)))  # ... and as it truly bleeds
        self._bus = bus
        self._cells = cells

    def lay_out(self, cells: int) -> None:
        """Lay out the configuration with ``cells`` bled."""
        a, b = self.a, self.b
        timer = reg.DCTO_HALF_MINUTE << reg.DCTO_SHIFT if cells else 0
        self.bled = cells
        at = 0
        for chip in range(len(self._cells)):
            n = self._cells[chip]
            bled = self._told[chip] = cells & (1 << n) - 1
            cells >>= n
            a[at] = reg.GPIO_OFF_A | reg.REFON
            a[at + 4] = bled & 0xFF
            a[at + 5] = timer | bled >> 8 & 0x0F
            b[at] = reg.GPIO_OFF_B | bled >> 8 & 0xF0
            b[at + 1] = bled >> 16
            at += reg.GROUP_BYTES

    def write(self) -> bool:
        """Write what is laid out until all chips have it; whether they do."""
        bus = self._bus
        for _ in range(_PASSES):
            bus.write(reg.WRCFGA, self.a)
            bus.write(reg.WRCFGB, self.b)
            if self.stands() and self._as_told():
                return True
        return False

    def stands(self) -> bool:
        """Whether no chip was reset, or bleeds a cell that nobody named; notes what they bleed."""
        bus = self._bus
        data = bus.data
        stands = timers = True
        bus.read(reg.RDCFGA)
        for chip in range(bus.n_chips):
            at = bus.at(chip)
            if data[at] & (reg.REFON | reg.ADCOPT) != reg.REFON:
                stands = False
            if not data[at] & reg.DTEN:
                timers = False
            self._found[chip] = data[at + 4] | (data[at + 5] & 0x0F) << 8
        bus.read(reg.RDCFGB)
        for chip in range(bus.n_chips):
            at = bus.at(chip)
            if data[at + 1] & reg.CONTROL_B:
                stands = False
            self._found[chip] |= (data[at] & 0xF0) << 8 | (data[at + 1] & 0x03) << 16
            if self._found[chip] & ~self._told[chip]:
                stands = False
        self.timers = timers
        return stands

    def bleeding(self) -> int:
        """Bit per cell that was truly bled when the configuration was last looked at."""
        if self._as_told():
            return self.bled
        cells = shift = 0  # a discharge timer ended, say
        for chip in range(len(self._cells)):
            cells |= self._found[chip] << shift
            shift += self._cells[chip]
        return cells

    def _as_told(self) -> bool:
        for chip in range(len(self._cells)):  # noqa: SIM110  a generator would allocate
            if self._found[chip] != self._told[chip]:
                return False
        return True
