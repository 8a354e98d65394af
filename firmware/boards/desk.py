"""The board of the tests: CPython in one process, with a clock that is moved by hand.

>>> board = DeskBoard(i2c=chip)
>>> board.advance(1000)
>>> board.ticks_ms()
1000
"""

import time

from common.codes import ResetCause
from common.mp import const
from firmware.board import Board

_TICKS_MASK = const(0x3FFFFFFF)
_TICKS_HALF = const(0x20000000)


class DeskBoard(Board):
    """``now_ms`` is the time that never wraps; ``start_ms`` sets it close to a wrap.

    ``front_end`` is what hangs on SPI and switch lines, where the board has its own: ``spi(out)``
    gives as many bytes back, ``drive(bits)``, ``feedback()``, and ``wait(us)`` lets its time pass.
    """

    name = "desk"

    def __init__(
        self,
        i2c: "object",
        uart: "object | None" = None,
        root: str = ".",
        start_ms: int = 0,
        reset_cause: int = ResetCause.POWER_ON,
        front_end: "object | None" = None,
    ) -> None:
        self.i2c = i2c
        self.front_end = front_end
        self.uart = uart
        self.root = root
        self.reset_cause = reset_cause
        self.now_ms = start_ms
        self.fed_ms: list[int] = []  # when the watchdog was fed
        self._slept_us = 0  # what ``now_ms`` does not show yet

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms

    def ticks_ms(self) -> int:
        """Milliseconds, wrapping."""
        return self.now_ms & _TICKS_MASK

    def ticks_us(self) -> int:
        """The interpreter's own microseconds, wrapping."""
        return time.perf_counter_ns() // 1000 & _TICKS_MASK

    def ticks_diff(self, later: int, earlier: int) -> int:
        """Signed distance between two ticks."""
        return ((later - earlier + _TICKS_HALF) & _TICKS_MASK) - _TICKS_HALF

    def ticks_add(self, ticks: int, delta: int) -> int:
        """Ticks moved by ``delta``."""
        return (ticks + delta) & _TICKS_MASK

    def wait(self, until_ms: int) -> None:
        """Be at ``until_ms`` at once, or stay when the UART has bytes."""
        if self.uart is not None and self.uart.any():  # type: ignore[attr-defined]
            return
        self.advance(max(self.ticks_diff(until_ms, self.ticks_ms()), 0))

    def sleep_us(self, us: int) -> None:
        """Let a short time pass, for the front end too."""
        if self.front_end is not None:
            self.front_end.wait(us)  # type: ignore[attr-defined]
        self._slept_us += us
        ms = self._slept_us // 1000
        self._slept_us %= 1000
        if ms:
            self.advance(ms)

    def spi_transfer(
        self, out: "bytes | bytearray | memoryview", into: "bytearray | None"
    ) -> None:
        """One transfer with chip select low; ``into`` is as long as ``out``."""
        answer = self.front_end.spi(bytes(out))  # type: ignore[union-attr]
        if into is not None:
            into[:] = answer

    def drive_switches(self, bits: int) -> None:
        """Set the lines of the switches (``codes.Switch``)."""
        self.front_end.drive(bits)  # type: ignore[union-attr]

    def switch_feedback(self) -> int:
        """The switches that truly conduct (``codes.Switch``)."""
        return self.front_end.feedback()  # type: ignore[union-attr,no-any-return]

    def feed_watchdog(self) -> None:
        """Note when."""
        self.fed_ms.append(self.now_ms)
