"""One board in the world: its pack, its chip, its place on a line, and its own local time.

Virtual time passes for a board only inside the operations it asks for (``common.link``). A board
``RUNNING`` owes the world its next request; ``WAITING`` it sleeps until ``wake_us`` or until bytes
arrive; ``SENDING`` it drives the line until ``wake_us``; ``OFF`` it has no link.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Protocol

from common import link
from common.codes import ResetCause, Switch
from sim.bq76952 import Nack
from sim.clock import US_PER_S
from sim.link import LinkLost, LinkSilent
from sim.ltc6813 import FrontEnd
from sim.switches import Switches

if TYPE_CHECKING:
    from sim.bench import Bench
    from sim.link import Connection
    from sim.pack import Pack
    from sim.parameters import Array
    from sim.rs485 import Line

RUNNING = 1
WAITING = 2
SENDING = 3
OFF = 4

_BITS = (Switch.CHARGE, Switch.DISCHARGE, Switch.PRECHARGE, Switch.PREDISCHARGE)
_UNANSWERED = (link.SPI_WRITE, link.WATCHDOG)
_SHARED = (link.WAIT, link.UART_WRITE)
_LOOK_AHEAD_US = 20_000  # so far from its waking a board on a quiet line may wait by itself
_CHIP_GRAIN_US = 50_000  # during transfers alone the chip sees the world no finer than this
_PACK_GRAIN_US = 200_000  # and the cells no finer than this, unless a switch has moved
_RX_BYTES = 4096  # what a UART buffers; more is lost
_HEADER = struct.Struct("<BH")
_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MOST_VIRTUAL_US = 1 << 62
_WATCHDOG = "its watchdog ran out"


class Chip(Protocol):
    """What the world needs of a chip."""

    @property
    def last_bus_us(self) -> float:
        """How long the last transfer held the bus."""

    @property
    def charge_fet(self) -> bool:
        """Charge current may pass."""

    @property
    def discharge_fet(self) -> bool:
        """Discharge current may pass."""

    @property
    def precharge_fet(self) -> bool:
        """Charge current may pass through a resistor."""

    @property
    def predischarge_fet(self) -> bool:
        """The terminals are charged through a resistor."""

    @property
    def balance_mask(self) -> int:
        """Bit per cell that is being bled."""

    def i2c(self, address: int, write: bytes, n_read: int) -> bytes:
        """One transfer: write, then read after a repeated start; ``Nack``.

        The chip's own clock, on which its busy times run, goes on with it.
        """

    def clock_bus(self) -> None:
        """Nine clocks and a stop, from a host that finds SDA held low."""

    def step(
        self,
        dt_s: float,
        cell_v: Array,
        current_a: float,
        temperatures_c: tuple[float, ...],
        die_c: float,
        fet_c: float,
        pack_v: float,
    ) -> None:
        """Let ``dt_s`` pass with these at the pins."""


class Station:
    """A board, ``index``-th of its world; ``line`` is ``None`` for one without a bus."""

    def __init__(self, index: int, pack: Pack, chip: Chip, bench: Bench | None) -> None:
        self.index = index
        self.pack = pack
        self.chip = chip
        self.bench = bench
        self.line: Line | None = None
        self.connection: Connection | None = None
        self.state = OFF
        self.asked: tuple[int, bytes] | None = None  # a request that touches the line
        self.local_us = 0
        self.wake_us = 0
        self.watchdog_us: int | None = None  # when it bites
        self.received = bytearray()
        self.overruns = 0
        self.transfers = 0  # on I2C since the start
        self.boots = 0
        self.booted_us = 0
        self.lost = ""  # why the link is gone
        self.ended_by_itself = False
        self.dead = False  # nobody starts it
        self.reset_cause: int = ResetCause.POWER_ON
        self.grain_us = _PACK_GRAIN_US  # of cells and chip while the board is silent
        self._chip_us = 0
        self._pack_us = 0
        self._fets = (False,) * 4
        # its own SPI and switch lines, where the board drives them itself
        self._front_end = chip if isinstance(chip, FrontEnd) else None
        self.contactors = None
        if self._front_end is None and pack.spec.settings.get("contactors"):
            self.contactors = Switches()
        self._lines = self._front_end or self.contactors
        self._waited = False  # time has passed that the chip has not seen
        self._free_until_us = 0

    # --- link ---------------------------------------------------------------------------

    def attach(self, connection: Connection, now_us: int) -> None:
        """The board's HELLO has come: answer it and let the board run from ``now_us``."""
        self.connection = connection
        self.local_us = max(now_us, self.local_us)
        self.booted_us = self.local_us
        self.boots += 1
        self.lost = ""
        self.received.clear()
        self.watchdog_us = None
        self.state = RUNNING
        self._free_until_us = self.local_us + _LOOK_AHEAD_US
        self._answer(link.OK, bytes((self.reset_cause,)))

    def detach(self, why: str, reset_cause: int | None = None) -> None:
        """Cut the link; the chip and the cells go on by themselves.

        ``reset_cause`` says what the next start is put down to, ``None`` that the firmware left.
        """
        self.ended_by_itself = reset_cause is None
        if reset_cause is not None:
            self.reset_cause = reset_cause
        if self._lines is not None:
            self._lines.drive(0)  # resistors pull the lines of a board in reset low
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.asked = None
        self.watchdog_us = None
        self.state = OFF
        self.lost = why

    def take(self) -> None:
        """Take one request of a board that is ``RUNNING``, and answer it.

        What has no answer and came before it is done. What others on the line may notice is not
        done yet, but stands in ``asked``.
        """
        connection = self.connection
        if connection is None:
            return
        try:
            op, payload = self._next(connection)
            while op in _UNANSWERED:
                if op == link.WATCHDOG:
                    self._feed(payload)
                else:
                    self._spi(payload)
                op, payload = self._next(connection)
            if op == link.I2C:
                self._answer(*self._i2c(payload))
            elif op == link.SPI:
                self._answer(*self._spi(payload))
            elif op in _SHARED:
                self.asked = (op, payload)
            else:
                self._other(op, payload)
        except LinkSilent as lost:
            if self.watchdog_us is None:
                self.detach(str(lost))
            else:
                self.detach(_WATCHDOG, ResetCause.WATCHDOG)
        except LinkLost as lost:
            self.detach(str(lost))

    def do_asked(self) -> None:
        """Do what stands in ``asked``: answer it or block the board."""
        if self.asked is None:
            return
        op, payload = self.asked
        self.asked = None
        try:
            self._other(op, payload)
        except LinkLost as lost:
            self.detach(str(lost))

    def _answer(self, status: int = link.OK, payload: bytes = b"") -> None:
        if self.connection is not None:
            received = link.RECEIVED if self.received else 0
            self.connection.answer(status | received, self.local_us, payload)

    def _next(self, connection: Connection) -> tuple[int, bytes]:
        op, slept_us, payload = connection.request()
        if slept_us:
            self._sleep(slept_us)
        return op, payload

    def _feed(self, payload: bytes) -> None:
        if len(payload) != _U32.size:
            raise LinkLost("the firmware fed its watchdog without a time")
        self.watchdog_us = self.local_us + 1000 * int(_U32.unpack(payload)[0])

    def _sleep(self, us: int) -> None:
        """Let pass what the board has slept before its request; ``LinkLost`` when that ends it."""
        if us >= link.SLEEP_LIMIT_US:
            raise LinkLost(f"the firmware slept {us} us at once")
        end_us = self.local_us + us
        if self.watchdog_us is not None and end_us >= self.watchdog_us:
            raise LinkSilent(_WATCHDOG)
        self.local_us = end_us
        if self._front_end is None:
            self._waited = True
        else:
            self._front_end.wait(us)  # what is at its pins has not changed

    def _i2c(self, payload: bytes) -> tuple[int, bytes]:
        if len(payload) < 3:
            return link.REJECTED, b""
        address, n_read = _HEADER.unpack_from(payload)
        write = payload[3:]
        self.transfers += 1
        chip = self.chip
        self._let_chip_follow()
        try:
            return link.OK, chip.i2c(address, write, n_read)
        except Nack:
            return link.NACK, b""
        finally:
            self.local_us += int(chip.last_bus_us)

    def _spi(self, payload: bytes) -> tuple[int, bytes]:
        front_end = self._front_end
        if front_end is None or not payload:
            return link.REJECTED, b""
        self.transfers += 1
        self._let_chip_follow()
        answer = front_end.spi(payload)
        self.local_us += math.ceil(front_end.last_bus_us)
        return link.OK, answer

    def _let_chip_follow(self) -> None:
        """Before a transfer: the chip has to know of the time that has passed."""
        if self._waited or self.local_us - self._chip_us >= _CHIP_GRAIN_US:
            self._waited = False
            self._step_chip(self.local_us)

    def _other(self, op: int, payload: bytes) -> None:
        try:
            if op == link.WAIT:
                self._wait(min(_U64.unpack(payload)[0], _MOST_VIRTUAL_US))
            elif op == link.UART_READ:
                most = _U16.unpack(payload)[0]
                data = bytes(self.received[:most])
                del self.received[:most]
                self._answer(link.OK, data)
            elif op == link.UART_WRITE:
                self._send(payload)
            elif op == link.NOW:
                self._answer()
            elif op in {link.DRIVE, link.FEEDBACK} and self._lines is not None:
                self._let_chip_follow()
                if op == link.FEEDBACK:
                    self._answer(link.OK, bytes((self._lines.feedback(),)))
                else:
                    self._lines.drive(int(_U8.unpack(payload)[0]))
                    self._answer()
            elif op == link.I2C_CLOCKS:
                self.chip.clock_bus()
                self.local_us += int(self.chip.last_bus_us)
                self._answer()
            else:
                self._answer(link.REJECTED)
        except struct.error:
            self._answer(link.REJECTED)

    def _wait(self, until_us: int) -> None:
        if self.received:
            self._answer()
            return
        short = until_us <= self._free_until_us
        bitten = self.watchdog_us is not None and until_us >= self.watchdog_us
        if short and not bitten and (self.line is None or self.line.next_us() is None):
            self.local_us = max(self.local_us, until_us)
            self._waited = True
            self._answer()
            return
        self.state = WAITING
        self.wake_us = max(self.local_us, until_us)

    def _send(self, data: bytes) -> None:
        if self.line is None or not data:
            self._answer()
            return
        self.state = SENDING
        self.wake_us = self.line.send(self.index, data, self.local_us)

    # --- time ---------------------------------------------------------------------------

    def due_us(self) -> int | None:
        """When something happens to this board by itself; ``None`` without a link."""
        if self.state not in (WAITING, SENDING):
            return None
        if self.watchdog_us is not None and self.watchdog_us < self.wake_us:
            return self.watchdog_us
        return self.wake_us

    def hear(self, data: bytes) -> None:
        """Bytes arrive at the UART."""
        if self.state == OFF:
            return
        room = _RX_BYTES - len(self.received)
        self.overruns += max(0, len(data) - room)
        self.received += data[:room]

    def wake(self, now_us: int) -> None:
        """Let the board run on when its time has come or bytes have arrived."""
        if self.state == WAITING:
            if not (self.received or self.wake_us <= now_us):
                return
        elif self.state != SENDING or self.wake_us > now_us:
            return
        self.local_us = max(self.local_us, min(now_us, self.wake_us))
        self.state = RUNNING
        self._free_until_us = self.local_us + _LOOK_AHEAD_US
        self._waited = True
        try:
            self._answer()
        except LinkLost as lost:
            self.detach(str(lost))

    def bitten(self, now_us: int) -> bool:
        """Whether the watchdog ran out while the board slept; its link is cut then."""
        if self.watchdog_us is None or now_us < self.watchdog_us:
            return False
        if self.state not in (WAITING, SENDING):
            return False
        self.detach(_WATCHDOG, ResetCause.WATCHDOG)
        return True

    def advance(self, now_us: int) -> None:
        """Bring cells, tester and chip to ``now_us``."""
        chip = self.chip
        fets = self.conducting()
        passed_us = now_us - self._pack_us
        if passed_us >= self.grain_us or (passed_us > 0 and fets != self._fets):
            self.pack.step(passed_us / US_PER_S, *fets[:2], chip.balance_mask, *fets[2:])
            self._pack_us = now_us
            self._fets = fets
            if self.bench is not None:
                self.bench.update(now_us / US_PER_S)
            self._step_chip(now_us)

    def conducting(self) -> tuple[bool, bool, bool, bool]:
        """Whether charge, discharge, and each of them through its resistor, may pass."""
        chip = self.chip
        if self.contactors is None:
            fets = (chip.charge_fet, chip.discharge_fet)
            return (bool(fets[0]), bool(fets[1]), chip.precharge_fet, chip.predischarge_fet)
        closed = self.contactors.closed
        charge, discharge, precharge, predischarge = (bool(closed & bit) for bit in _BITS)
        return charge, discharge, precharge, predischarge

    def _step_chip(self, now_us: int) -> None:
        passed_us = now_us - self._chip_us
        if passed_us <= 0:
            return
        self._chip_us = now_us
        pack = self.pack
        self.chip.step(
            passed_us / US_PER_S,
            pack.cell_v,
            pack.current_a,
            pack.temperatures_c,
            pack.die_c,
            pack.fet_c,
            pack.pack_v,
        )
