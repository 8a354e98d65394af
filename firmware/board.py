"""What the firmware asks of a board. A port is one file in ``boards/`` with these members.

Times are ``ticks``: milliseconds (``ticks_ms``) or microseconds (``ticks_us``) that wrap, to be
compared with ``ticks_diff`` and moved with ``ticks_add`` only. ``i2c`` follows ``machine.I2C``:
``readfrom_mem_into(address, register, buffer)`` and ``writeto_mem(address, register, buffer)``,
``OSError`` when the device does not answer in time. A board that can has ``recover_i2c()``: up to
nine clocks and a stop, which free a bus that a device holds in the middle of a byte. A board with
a chain of chips on isoSPI has ``spi_transfer``; one that drives contactors, or all switches since
its AFE drives none, has ``drive_switches`` and ``switch_feedback``. ``uart`` has ``any() -> int``,
``readinto(buffer) -> int | None`` and ``write(buffer) -> int``; ``write`` drives the RS-485
line (DE) and gives it back when the last character has left, or after the time that takes
(``OSError``). Nothing here may wait without an end. docs/board.md says how to port.
"""

import gc
import time

from firmware.afe import Afe
from firmware.settings import Settings, SettingsError
from firmware.storage import Storage


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

    def collect_garbage(self) -> None:
        """Called at the end of each cycle, when nothing is urgent."""
        gc.collect()

    def reset(self) -> None:
        """Start anew, as after power-on; on the desk, where ending is enough, do nothing."""

    def sleep_us(self, us: int) -> None:
        """Wait ``us`` or a little longer, doing nothing else."""
        _sleep_us(us)

    def spi_transfer(self, out: "bytes | bytearray", into: "bytearray | None") -> None:
        """One transaction with chip select low: send ``out``, fill ``into``, of the same length.

        ``None``: what comes back means nothing. SPI mode 3, at most 1 MHz (the LTC6820's).
        ``OSError`` when the bus fails.
        """
        raise NotImplementedError

    def drive_switches(self, bits: int) -> None:
        """Close the switches in ``bits`` (of ``codes.Switch``), open all others.

        ``OSError`` when that cannot be done. A reset of the board opens them all.
        """
        raise NotImplementedError

    def switch_feedback(self) -> int:
        """The switches that are truly closed; -1 where the board cannot tell."""
        return -1

    def insulated(self) -> "bool | None":
        """What an insulation monitor says; ``None`` where there is none."""
        return None

    def make_storage(self) -> Storage:
        """Where records are kept: files in ``root``, or what the board has for it (``fram``)."""
        return Storage(self.root)

    def make_afe(self, settings: Settings) -> Afe:
        """The driver of the front end that the settings name; a board wired otherwise makes it.

        A board needs the files of its own front end alone; ``SettingsError`` when it is another.
        """
        try:
            if settings.afe == "ltc6813":
                from firmware.afe.ltc6813 import Ltc6813, cells_of_chips  # noqa: PLC0415

                return Ltc6813(self, settings.chip_cells or cells_of_chips(settings.n_cells))
            from firmware.afe.bq76952 import Bq76952  # noqa: PLC0415

            return Bq76952(self, settings.n_cells)
        except ImportError as error:
            raise SettingsError(  # noqa: B904  MicroPython has no "from"
                "afe %s: its driver is not on this board (%s): copy firmware/afe for it, or "
                "correct afe" % (settings.afe, error)
            )


if hasattr(time, "sleep_us"):
    _sleep_us = time.sleep_us
else:  # CPython

    def _sleep_us(us: int) -> None:
        time.sleep(us / 1000000)
