"""ESP32 and its successors (S2, S3, C3, ...), with MicroPython's port ``esp32``.

Put ``settings.json`` beside ``main.py`` in the board's root, and into ``main.py``:

    from firmware.boards import esp32
    esp32.start()

| pin of an ESP32-WROOM-32 | is |
|---|---|
| GPIO21, GPIO22 | I2C0 SDA, SCL: the AFE |
| GPIO17, GPIO16 | UART1 TX, RX: the RS-485 transceiver |
| GPIO4 | DE and /RE of the transceiver, high while sending; hold it low with a resistor |

Other modules have other pins; any that can be an output will do:

    esp32.start(pins={"sda": 8, "scl": 9, "tx": 17, "rx": 18, "de": 4, "i2c": 0, "uart": 1})
"""

import machine

from common.codes import ResetCause
from firmware import main
from firmware.boards.machine_board import MachineBoard

PINS: "dict[str, int | str]" = {
    "sda": 21,
    "scl": 22,
    "tx": 17,
    "rx": 16,
    "de": 4,
    "i2c": 0,
    "uart": 1,
}


class Esp32Board(MachineBoard):
    """The port tells neither a brown-out from a power-on, nor a panic from ``machine.reset``."""

    name = "esp32"
    causes = {
        machine.PWRON_RESET: ResetCause.POWER_ON,
        machine.WDT_RESET: ResetCause.WATCHDOG,
        machine.HARD_RESET: ResetCause.SOFT,
        machine.SOFT_RESET: ResetCause.SOFT,
    }


def start(settings_path: str = "/settings.json", pins: "dict[str, int | str]" = PINS) -> None:
    """Be a pack's board for ever."""
    main.run(lambda settings: Esp32Board(settings, pins), settings_path)
