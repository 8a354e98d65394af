"""RP2040 and RP2350 (Raspberry Pi Pico, Pico 2): the reference board.

Put ``settings.json`` beside ``main.py`` in the board's root, and into ``main.py``:

    from firmware.boards import rp2
    rp2.start()

| pin | is |
|---|---|
| GP4, GP5 | I2C0 SDA, SCL: the AFE |
| GP0, GP1 | UART0 TX, RX: the RS-485 transceiver |
| GP2 | DE and /RE of the transceiver, high while sending; hold it low with a resistor |
"""

import time

import machine

from common.codes import ResetCause
from common.mp import const
from firmware import main
from firmware.board import Board
from firmware.settings import Settings

_SDA = const(4)
_SCL = const(5)
_I2C_HZ = const(400000)
_I2C_TIMEOUT_US = const(50000)  # the AFE stretches the clock
_TX = const(0)
_RX = const(1)
_DE = const(2)
_RX_BYTES = const(512)
_WATCHDOG_MS = const(8000)  # the RP2040 cannot do more than 8388
_POLL_MS = const(1)


class Uart:
    """The UART with the transceiver's direction line."""

    def __init__(self, baudrate: int) -> None:
        self._de = machine.Pin(_DE, machine.Pin.OUT, value=0)
        self._uart = machine.UART(
            0, baudrate, tx=machine.Pin(_TX), rx=machine.Pin(_RX), rxbuf=_RX_BYTES
        )
        self.any = self._uart.any
        self.readinto = self._uart.readinto

    def write(self, buffer: "bytes | bytearray | memoryview") -> int:
        """Send ``buffer``; back when its last character has left."""
        self._de.value(1)
        n = self._uart.write(buffer)
        self._uart.flush()
        self._de.value(0)
        return n or 0


class Rp2Board(Board):
    """The chip's clock, buses and watchdog."""

    name = "rp2"
    root = "/"

    def __init__(self, settings: Settings) -> None:
        self.reset_cause = _reset_cause()
        self.i2c = self.recover_i2c()
        self.uart: Uart = Uart(settings.baudrate)
        self._watchdog: machine.WDT | None = None

    def ticks_ms(self) -> int:
        """Milliseconds, wrapping."""
        return time.ticks_ms()  # type: ignore[return-value]

    def ticks_us(self) -> int:
        """Microseconds, wrapping."""
        return time.ticks_us()  # type: ignore[return-value]

    def ticks_diff(self, later: int, earlier: int) -> int:
        """Signed distance between two ticks."""
        return time.ticks_diff(later, earlier)

    def ticks_add(self, ticks: int, delta: int) -> int:
        """Ticks moved by ``delta``."""
        return time.ticks_add(ticks, delta)  # type: ignore[type-var]

    def wait(self, until_ms: int) -> None:
        """Sleep until ``until_ms`` or until the UART has bytes to read."""
        while not self.uart.any() and time.ticks_diff(until_ms, time.ticks_ms()) > 0:
            time.sleep_ms(_POLL_MS)

    def recover_i2c(self) -> "machine.I2C":
        """Free a bus that a chip holds since it was left in the middle of a read.

        The chip waits for clocks to send the rest of its byte: nine of them, then a stop.
        """
        sda = machine.Pin(_SDA, machine.Pin.OPEN_DRAIN, value=1)
        scl = machine.Pin(_SCL, machine.Pin.OPEN_DRAIN, value=1)
        for _ in range(9):
            if sda.value():
                break
            scl.value(0)
            time.sleep_us(5)
            scl.value(1)
            time.sleep_us(5)
        sda.value(0)
        time.sleep_us(5)
        sda.value(1)
        time.sleep_us(5)
        self.i2c = machine.I2C(0, sda=sda, scl=scl, freq=_I2C_HZ, timeout=_I2C_TIMEOUT_US)
        return self.i2c

    def feed_watchdog(self) -> None:
        """Put the reset off; the first call starts the watchdog, and nothing stops it."""
        if self._watchdog is None:
            self._watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        self._watchdog.feed()


def _reset_cause() -> int:
    cause = machine.reset_cause()
    if cause == machine.WDT_RESET:
        return ResetCause.WATCHDOG
    if cause == machine.PWRON_RESET:
        return ResetCause.POWER_ON
    return ResetCause.UNKNOWN


def start(settings_path: str = "/settings.json") -> None:
    """Be a pack's board for ever."""
    main.run(Rp2Board, settings_path)
