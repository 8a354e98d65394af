"""RP2040 and RP2350 (Raspberry Pi Pico, Pico 2): the reference board.

Put ``settings.json`` beside ``main.py`` in the board's root, and into ``main.py``:

    from firmware.boards import rp2
    rp2.start()

| pin | is |
|---|---|
| GP4, GP5 | I2C0 SDA, SCL: the AFE |
| GP0, GP1 | UART0 TX, RX: the RS-485 transceiver |
| GP2 | DE and /RE of the transceiver, high while sending; hold it low with a resistor |

Why it started is read from the chip, for ``machine.reset_cause`` calls ``machine.reset`` a
watchdog's doing. Source: ``hardware/regs`` of the Pico SDK, ``watchdog_reboot`` in its library.
"""

import os

import machine

from common.codes import ResetCause
from common.mp import const
from firmware import main
from firmware.boards.machine_board import MachineBoard

PINS: "dict[str, int | str]" = {"sda": 4, "scl": 5, "tx": 0, "rx": 1, "de": 2, "i2c": 0, "uart": 0}

_TIMER = const(1)  # of the watchdog's REASON: it ran out ...
_FORCED = const(2)  # ... or machine.reset() used it
# REASON, CHIP_RESET and in it: brown-out, pin RUN. The RP2040 calls a brown-out a power-on.
_RP2040 = (0x40058008, 0x40064008, 0, 1 << 16)
_RP2350 = (0x400D8008, 0x4010002C, 1 << 17, 1 << 18)


class Rp2Board(MachineBoard):
    """The watchdog of the RP2040 can do at most 8388 ms."""

    name = "rp2"

    def find_reset_cause(self) -> int:
        """As the chip has it, with what ``machine.reset_cause`` leaves out."""
        reason_at, reset_at, brown_out, pin = (
            _RP2350 if "RP2350" in os.uname().machine else _RP2040
        )
        reason = machine.mem32[reason_at]
        if reason & _FORCED:
            return ResetCause.SOFT
        if reason & _TIMER:
            return ResetCause.WATCHDOG
        reset = machine.mem32[reset_at]
        if reset & brown_out:
            return ResetCause.BROWN_OUT
        if reset & pin:
            return ResetCause.PIN
        return ResetCause.POWER_ON


def start(settings_path: str = "/settings.json", pins: "dict[str, int | str]" = PINS) -> None:
    """Be a pack's board for ever."""
    main.run(lambda settings: Rp2Board(settings, pins), settings_path)
