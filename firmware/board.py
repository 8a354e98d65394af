"""What the firmware asks of a board. A port is one file in ``boards/`` with these members.

Times are ``ticks``: milliseconds (``ticks_ms``) or microseconds (``ticks_us``) that wrap, to be
compared with ``ticks_diff`` and moved with ``ticks_add`` only. ``i2c`` follows ``machine.I2C``:
``readfrom_mem_into(address, register, buffer)`` and ``writeto_mem(address, register, buffer)``,
``OSError`` when the device does not answer in time. ``uart`` has ``any() -> int``,
``readinto(buffer) -> int | None`` and ``write(buffer) -> int``; ``write`` drives the RS-485
line (DE) and gives it back when the last character has left.
"""


class Board:
    """The hardware, as far as the firmware knows it."""

    name = "board"
    i2c: "object"
    uart: "object | None" = None
    root = "."  # folder that survives power-off
    reset_cause = 0  # codes.ResetCause

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

    # --- what a board may have beyond that; as here it has not ------------------------------

    def drive_contactors(self, closed: int) -> None:
        """Drive contactors beside or instead of the AFE's switches (bits of ``codes.Switch``)."""

    def contactors_closed(self) -> "int | None":
        """Which contactors are truly closed, by their auxiliary contacts."""
        return None

    def insulated(self) -> "bool | None":
        """What an insulation monitor says."""
        return None
