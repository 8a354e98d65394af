"""The analogue front end of a board: a chain of LTC6813-1, an INA228, switches.

| where | what |
|---|---|
| cells | spread evenly over the fewest chips, or as ``cells_per_chip`` says |
| GPIO1 to GPIO3 of each chip | thermistors at the cells, three of ``temperatures_c`` a chip |
| GPIO4 of chip 0 | thermistor at the switches |
| INA228, address 0x40 | shunt; VBUS at the terminals, through a divider by 4 above 20 cells |
| INA228 ALERT | unless it is pulled low every switch is held open |
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from common.codes import Switch
from sim.ina228 import Ina228
from sim.switches import Switches

from .chain import Chain
from .inputs import CELLS, GPIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.parameters import Array

MOST_CHIPS = 4
SENSORS_PER_CHIP = 3
_MOST_UNDIVIDED = 20  # cells: 85 V is what VBUS takes
_DIVIDER = 4.0


def cells_of_chips(n_cells: int) -> list[int]:
    """How ``n_cells`` spread over chips, chip 0 first; ``ValueError`` for more than 72."""
    if not 1 <= n_cells <= CELLS * MOST_CHIPS:
        raise ValueError(f"n_cells: {n_cells} is not between 1 and {CELLS * MOST_CHIPS}")
    n_chips = math.ceil(n_cells / CELLS)
    each, more = divmod(n_cells, n_chips)
    return [each + (k < more) for k in range(n_chips)]


class FrontEnd:
    """What hangs on the board's SPI, I2C and switch lines (``station.Chip``).

    ``seed`` draws the converters' errors.
    """

    def __init__(
        self,
        n_cells: int,
        *,
        shunt_uohm: float,
        seed: int,
        cells_per_chip: Sequence[int] | None = None,
    ) -> None:
        self.n_cells = n_cells
        spread = cells_of_chips(n_cells) if cells_per_chip is None else list(cells_per_chip)
        if sum(spread) != n_cells or len(spread) > MOST_CHIPS:
            raise ValueError(f"cells_per_chip: {spread} do not hold {n_cells} cells")
        self.spread = spread
        self.chain = Chain(spread, seed)
        self.monitor = Ina228(shunt_uohm=shunt_uohm, seed=seed)
        self.switches = Switches()
        self.now_us = 0.0
        self.last_bus_us = 0.0
        self._stepped_us = 0.0
        self._divider = 1.0 if n_cells <= _MOST_UNDIVIDED else _DIVIDER

    # --- the world ------------------------------------------------------------------------

    def step(
        self,
        dt_s: float,
        cell_v: Sequence[float] | Array,
        current_a: float,
        temperatures_c: Sequence[float],
        die_c: float,
        fet_c: float,
        pack_v: float | None = None,
    ) -> None:
        """Let ``dt_s`` pass with these at the pins; ``pack_v`` is at the terminals.

        Time that transfers took since the last step is part of ``dt_s``.
        """
        self._stepped_us += dt_s * 1e6
        self.now_us = max(self.now_us, self._stepped_us)
        self.chain.advance(self.now_us)
        volts = [float(v) for v in cell_v]
        first = 0
        for k, chip in enumerate(self.chain.chips):
            gpio_c: list[float | None] = [None] * GPIOS
            at = SENSORS_PER_CHIP * k
            for n, celsius in enumerate(temperatures_c[at : at + SENSORS_PER_CHIP]):
                gpio_c[n] = celsius
            if not k:
                gpio_c[SENSORS_PER_CHIP] = fet_c
            chip.sense(volts[first : first + self.spread[k]], gpio_c, die_c)
            first += self.spread[k]
        bus_v = sum(volts) if pack_v is None else pack_v
        past_us = max(0.0, self.now_us - self.monitor.now_us)
        self.monitor.step(past_us / 1e6, current_a, bus_v / self._divider, die_c)
        self._obey_alert()

    def wait(self, us: float) -> None:
        """Let ``us`` pass with what is at the pins."""
        self._pass(us)

    def _pass(self, us: float) -> None:
        self.now_us += us
        self.chain.advance(self.now_us)
        self._advance_monitor()

    def _advance_monitor(self) -> None:
        self.monitor.advance(self.now_us)
        self._obey_alert()

    def _obey_alert(self) -> None:
        self.switches.held_open = not self.monitor.alert_low

    # --- the board's lines ----------------------------------------------------------------

    def spi(self, out: bytes) -> bytes:
        """One transfer with chip select low: as many bytes back."""
        answer, end_us = self.chain.transfer(out, self.now_us)
        self.last_bus_us = end_us - self.now_us
        self.now_us = end_us
        self._advance_monitor()
        return answer

    def i2c(self, address: int, write: bytes, n_read: int) -> bytes:
        """One transaction on the bus of the INA228; ``Nack``."""
        self.monitor.advance(self.now_us)
        try:
            return self.monitor.i2c(address, write, n_read)
        finally:
            self.last_bus_us = self.monitor.last_bus_us
            self._pass(self.last_bus_us)

    def clock_bus(self) -> None:
        """Nine clocks and a stop: an INA228 holds the bus no longer than a transfer."""
        self.last_bus_us = 25.0
        self._pass(self.last_bus_us)

    def drive(self, bits: int) -> None:
        """Set the switch lines."""
        self.switches.drive(bits)

    def feedback(self) -> int:
        """Read the feedback lines."""
        return self.switches.closed

    # --- what the pack follows ------------------------------------------------------------

    @property
    def charge_fet(self) -> bool:
        """Charge current may pass."""
        return bool(self.switches.closed & Switch.CHARGE)

    @property
    def discharge_fet(self) -> bool:
        """Discharge current may pass."""
        return bool(self.switches.closed & Switch.DISCHARGE)

    @property
    def precharge_fet(self) -> bool:
        """Charge current may pass through the resistor."""
        return bool(self.switches.closed & Switch.PRECHARGE)

    @property
    def predischarge_fet(self) -> bool:
        """Discharge current may pass through the resistor."""
        return bool(self.switches.closed & Switch.PREDISCHARGE)

    @property
    def balance_mask(self) -> int:
        """The cells bled now; bit 0 = the lowest cell."""
        mask = first = 0
        for chip, count in zip(self.chain.chips, self.spread, strict=True):
            mask |= chip.balance_mask() << first
            first += count
        return mask
