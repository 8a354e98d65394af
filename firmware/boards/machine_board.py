"""What boards with MicroPython's ``machine`` share: clock, buses, watchdog, and what bounds them.

A port says why it started, and how it opens I2C and UART where that is done otherwise:

    class Esp32Board(MachineBoard):
        name = "esp32"
        causes = {machine.PWRON_RESET: ResetCause.POWER_ON}

    main.run(lambda settings: Esp32Board(settings, PINS), "/settings.json")

``pins`` says what is wired where: ``sda`` and ``scl`` of the AFE, ``tx`` and ``rx`` of the RS-485
transceiver, ``de`` its DE and /RE, high while sending; ``i2c`` and ``uart``, the buses' numbers. A
board that drives its switches, or has a chain of chips on SPI, names those lines too (``lines``).

Nothing here waits without an end: an I2C access ends after ``I2C_TIMEOUT_US`` without a clock, a
bus that is held is clocked at most nine times, a write to the line ends when its characters must
have left, and ``wait`` ends at its tick.
"""

import errno
import time

import machine

from common.codes import ResetCause
from common.mp import const
from firmware.board import Board
from firmware.boards.lines import SpiLine, SwitchLines
from firmware.modbus.rtu import longest_ms
from firmware.settings import Settings

I2C_HZ = const(400000)
I2C_TIMEOUT_US = const(50000)  # the AFE stretches the clock
SPI_HZ = const(1000000)
UART_BYTES = const(512)  # more than a Modbus frame, in both directions

_POLL_MS = const(1)
_WRITE_MARGIN_MS = const(20)  # over what the characters take
_HALF_CLOCK_US = const(5)
_DRIVING_WATCHDOG_MS = const(3000)  # nothing but a reset opens what the board itself drives


class Uart:
    """The UART with the transceiver's direction line.

    ``txdone`` knows of the last stop bit on all ports since MicroPython 1.25; before, it came a
    character early.
    """

    def __init__(self, uart: machine.UART, de: machine.Pin, baudrate: int) -> None:
        self._de = de
        self._uart = uart
        self._baudrate = baudrate
        self.any = uart.any
        self.readinto = uart.readinto

    def write(self, buffer: "bytes | bytearray | memoryview") -> int:
        """Send ``buffer``; back when its last character has left.

        ``OSError`` when that takes longer than it can; the line is given back in any case.
        """
        n = len(buffer)
        self._de.value(1)
        try:
            if self._uart.write(buffer) != n:
                raise OSError(errno.EIO)
            limit_ms = longest_ms(n, self._baudrate) + _WRITE_MARGIN_MS
            end_ms = time.ticks_add(time.ticks_ms(), limit_ms)
            while not self._uart.txdone():
                if time.ticks_diff(end_ms, time.ticks_ms()) <= 0:
                    raise OSError(errno.ETIMEDOUT)
        finally:
            self._de.value(0)
        return n


class MachineBoard(Board):
    """A board's clock, buses and watchdog, over its port's ``machine``."""

    # The interpreter's own, all of which wrap alike.
    ticks_ms = staticmethod(time.ticks_ms)  # type: ignore[assignment]
    ticks_us = staticmethod(time.ticks_us)  # type: ignore[assignment]
    ticks_diff = staticmethod(time.ticks_diff)  # type: ignore[assignment]
    ticks_add = staticmethod(time.ticks_add)  # type: ignore[assignment]

    root = "/"
    # RP2040 can do 8388, RP2350 16777, STM32 32767 by a clock that may be a third off.
    watchdog_ms = 8000
    causes: "dict[int, int]" = {}  # codes.ResetCause of what machine.reset_cause says

    def __init__(self, settings: Settings, pins: "dict[str, int | str]") -> None:
        if "charge" in pins:
            lines = SwitchLines(pins)
            self.drive_switches = lines.drive_switches  # type: ignore[method-assign]
            self.switch_feedback = lines.switch_feedback  # type: ignore[method-assign]
            self.watchdog_ms = _DRIVING_WATCHDOG_MS
        if "cs" in pins:
            line = SpiLine(self.open_spi(pins), pins["cs"])
            self.spi_transfer = line.transfer  # type: ignore[method-assign]
        de = machine.Pin(pins["de"], machine.Pin.OUT, value=0)
        self.pins = pins
        self.reset_cause = self.find_reset_cause()
        self.i2c = self.recover_i2c()
        self.uart: Uart = Uart(self.open_uart(settings.baudrate), de, settings.baudrate)
        self._watchdog: machine.WDT | None = None

    def open_i2c(self, sda: machine.Pin, scl: machine.Pin) -> machine.I2C:
        """The AFE's bus; an access ends after ``I2C_TIMEOUT_US`` without a clock."""
        return machine.I2C(self.pins["i2c"], sda=sda, scl=scl, freq=I2C_HZ, timeout=I2C_TIMEOUT_US)

    def open_uart(self, baudrate: int) -> machine.UART:
        """The line's UART, with room for a Modbus frame in both directions."""
        pins = self.pins
        return machine.UART(
            pins["uart"],
            baudrate,
            tx=machine.Pin(pins["tx"]),
            rx=machine.Pin(pins["rx"]),
            txbuf=UART_BYTES,
            rxbuf=UART_BYTES,
        )

    def open_spi(self, pins: "dict[str, int | str]") -> machine.SPI:
        """The chain's bus: mode 3, as fast as an LTC6820 takes it."""
        return machine.SPI(
            int(pins["spi"]),
            baudrate=SPI_HZ,
            polarity=1,
            phase=1,
            sck=machine.Pin(pins["sck"]),
            mosi=machine.Pin(pins["mosi"]),
            miso=machine.Pin(pins["miso"]),
        )

    def find_reset_cause(self) -> int:
        """One of ``codes.ResetCause``."""
        return self.causes.get(machine.reset_cause(), ResetCause.UNKNOWN)

    def wait(self, until_ms: int) -> None:
        """Sleep until ``until_ms`` or until the UART has bytes to read."""
        while not self.uart.any() and time.ticks_diff(until_ms, time.ticks_ms()) > 0:
            time.sleep_ms(_POLL_MS)

    def recover_i2c(self) -> machine.I2C:
        """Free a bus that a chip holds since it was left in the middle of a read.

        The chip waits for clocks to send the rest of its byte: nine of them, then a stop.
        """
        sda = machine.Pin(self.pins["sda"], machine.Pin.OPEN_DRAIN, value=1)
        scl = machine.Pin(self.pins["scl"], machine.Pin.OPEN_DRAIN, value=1)
        for _ in range(9):
            if sda.value():
                break
            scl.value(0)
            time.sleep_us(_HALF_CLOCK_US)
            scl.value(1)
            time.sleep_us(_HALF_CLOCK_US)
        sda.value(0)
        time.sleep_us(_HALF_CLOCK_US)
        sda.value(1)
        time.sleep_us(_HALF_CLOCK_US)
        self.i2c = self.open_i2c(sda, scl)
        return self.i2c

    def feed_watchdog(self) -> None:
        """Put the reset off; the first call starts the watchdog, and nothing stops it."""
        if self._watchdog is None:
            self._watchdog = machine.WDT(timeout=self.watchdog_ms)
        self._watchdog.feed()

    def reset(self) -> None:
        """Start anew."""
        machine.reset()
