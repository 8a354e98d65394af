"""STM32, with MicroPython's port ``stm32``.

Put ``settings.json`` beside ``main.py`` in ``/flash``, and into ``main.py``:

    from firmware.boards import stm32
    stm32.start()

| pin of an STM32F405 (Pyboard) | is |
|---|---|
| PB7 (X10), PB6 (X9) | I2C1 SDA, SCL: the AFE |
| PA2 (X3), PA3 (X4) | UART2 TX, RX: the RS-485 transceiver |
| PA1 (X2) | DE and /RE of the transceiver, high while sending; hold it low with a resistor |

The number of a bus fixes its pins here; name those of another one so that it can be recovered:

    pins = {"sda": "B9", "scl": "B8", "tx": "D5", "rx": "D6", "de": "D4", "i2c": 1, "uart": 2}
    stm32.start(pins=pins)
"""

import machine

from common.codes import ResetCause
from firmware import main
from firmware.boards.machine_board import (
    I2C_HZ,
    I2C_TIMEOUT_US,
    SPI_HZ,
    UART_BYTES,
    MachineBoard,
)

PINS: "dict[str, int | str]" = {
    "sda": "B7",
    "scl": "B6",
    "tx": "A2",
    "rx": "A3",
    "de": "A1",
    "i2c": 1,
    "uart": 2,
}


class Stm32Board(MachineBoard):
    """The port does not tell a brown-out from a power-on."""

    name = "stm32"
    root = "/flash"
    causes = {
        machine.PWRON_RESET: ResetCause.POWER_ON,
        machine.WDT_RESET: ResetCause.WATCHDOG,
        machine.HARD_RESET: ResetCause.PIN,
        machine.SOFT_RESET: ResetCause.SOFT,
    }

    def open_i2c(self, _sda: machine.Pin, _scl: machine.Pin) -> machine.I2C:
        """Its pins are those of its number."""
        return machine.I2C(self.pins["i2c"], freq=I2C_HZ, timeout=I2C_TIMEOUT_US)

    def open_spi(self, pins: "dict[str, int | str]") -> machine.SPI:
        """Its pins are those of its number."""
        return machine.SPI(int(pins["spi"]), baudrate=SPI_HZ, polarity=1, phase=1)

    def open_uart(self, baudrate: int) -> machine.UART:
        """Its pins are those of its number; it has no buffer to write to, and sends at once."""
        return machine.UART(self.pins["uart"], baudrate, rxbuf=UART_BYTES)


def start(
    settings_path: str = "/flash/settings.json", pins: "dict[str, int | str]" = PINS
) -> None:
    """Be a pack's board for ever."""
    main.run(lambda settings: Stm32Board(settings, pins), settings_path)
