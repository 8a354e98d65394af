"""What the firmware asks of a board. A port is one file in ``boards/`` with these members.

Times are ``ticks``: milliseconds (``ticks_ms``) or microseconds (``ticks_us``) that wrap, to be
compared with ``ticks_diff`` and moved with ``ticks_add`` only. ``i2c`` follows ``machine.I2C``:
``readfrom_mem_into(address, register, buffer)`` and ``writeto_mem(address, register, buffer)``,
``OSError`` when the device does not answer in time. A board that can has ``recover_i2c()``: up to
nine clocks and a stop, which free a bus that a device holds in the middle of a byte. ``uart`` has
``any() -> int``, ``readinto(buffer) -> int | None`` and ``write(buffer) -> int``; ``write`` drives
the RS-485 line (DE) and gives it back when the last character has left.
"""


class Board:
    """The hardware, as far as the firmware knows it."""

    name = "board"
    i2c: "object"
    uart: "object | None" = None
    root = "."  # folder that survives power-off
    reset_cause = 0  # codes.ResetCause
    # What the AFE's regulators that feed the board are to give (BQ76952: REG12 Config); None: the
    # board has a supply of its own, or the chip's one-time memory knows.
    afe_regulators: int | None = None

    def ticks_ms(self) -> int:
        """Milliseconds, wrapping."""
        raise NotImplementedError

    def ticks_us(self) -> int:
        """Microseconds of true run time, wrapping: for measuring how long code takes."""
        raise NotImplementedError

    def ticks_diff(self, later: int, earlier: int) -> int:
        """Signed distance between two ticks, right across the wrap."""
        raise NotImplementedError

    def ticks_add(self, ticks: int, delta: int) -> int:
        """Ticks moved by ``delta``."""
        raise NotImplementedError

    def wait(self, until_ms: int) -> None:
        """Sleep until ``ticks_ms`` reaches ``until_ms`` or the UART has bytes to read."""
        raise NotImplementedError

    def feed_watchdog(self) -> None:
        """Say that all is well; the hardware resets the board when this stays away."""
        raise NotImplementedError
