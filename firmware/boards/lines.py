"""The lines of a board that drives switches or contactors itself, or has a chain of chips on SPI.

Names of pins beside those of every board; what is not there is left out:

| pin | is |
|---|---|
| ``charge``, ``discharge``, ``precharge``, ``predischarge`` | out, high closes the switch; a pull-down keeps it open while the board starts |
| ``charge_closed``, ``discharge_closed`` | in, high while the switch truly conducts |
| ``sck``, ``mosi``, ``miso``, ``cs`` | SPI ``spi`` (the bus's number) to the LTC6820 of a chain |
"""  # noqa: E501  a table

import errno

import machine

from common.codes import Switch

_OUT = (
    ("charge", Switch.CHARGE),
    ("discharge", Switch.DISCHARGE),
    ("precharge", Switch.PRECHARGE),
    ("predischarge", Switch.PREDISCHARGE),
)
_BACK = (("charge_closed", Switch.CHARGE), ("discharge_closed", Switch.DISCHARGE))


class SwitchLines:
    """Out and back; every line is low once it is made."""

    def __init__(self, pins: "dict[str, int | str]") -> None:
        out = machine.Pin.OUT
        self._out = [(bit, machine.Pin(pins[p], out, value=0)) for p, bit in _OUT if p in pins]
        self._back = [
            (bit, machine.Pin(pins[name], machine.Pin.IN)) for name, bit in _BACK if name in pins
        ]

    def drive_switches(self, bits: int) -> None:
        """See ``Board.drive_switches``; ``OSError`` when one to be closed has no line."""
        for bit, pin in self._out:  # what opens goes first
            if not bits & bit:
                pin.value(0)
        for bit, pin in self._out:
            if bits & bit:
                pin.value(1)
                bits &= ~bit
        if bits:
            raise OSError(errno.ENODEV)

    def switch_feedback(self) -> int:
        """See ``Board.switch_feedback``."""
        closed = 0
        for bit, pin in self._back:
            if pin.value():
                closed |= bit
        return closed if self._back else -1


class SpiLine:
    """A bus with one chip select."""

    def __init__(self, spi: machine.SPI, cs: "int | str") -> None:
        self._spi = spi
        self._cs = machine.Pin(cs, machine.Pin.OUT, value=1)

    def transfer(self, out: "bytes | bytearray", into: "bytearray | None") -> None:
        """See ``Board.spi_transfer``."""
        self._cs.value(0)
        try:
            if into is None:
                self._spi.write(out)
            else:
                self._spi.write_readinto(out, into)
        finally:
            self._cs.value(1)
