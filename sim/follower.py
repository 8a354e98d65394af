"""A charger and load that follow what a pack's board asks for, as a tester on the bus would.

It knows nothing but the board's registers, read over Modbus TCP of its own (the pack's
``tcp_port``), so it shares no line with the gateway:

    ReqA > 0    charge with that current, but not above Ccl, and with Cvl as the voltage limit
    ReqA < 0    discharge with that current, but not above Dcl
    otherwise   terminals open

It stops by itself when it cannot read, when ``Seq`` has not moved for ``STALE_S`` (a board that
hangs clears nothing), and when a block is torn (``Seq`` and ``SeqEnd`` differ).

    >>> follower = Follower(world, pack, period_s=0.25)       # doctest: +SKIP
    >>> world.run(until_s=3600.0)                              # doctest: +SKIP
    >>> follower.log                                           # doctest: +SKIP
    [(12.25, 5.0), (17.5, 0.0)]
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from common import models
from common.registers import Layout, RegisterMap
from sim import station as st
from sim.pack import OPEN, Demand

if TYPE_CHECKING:
    from sim.pack import Pack
    from sim.world import World

STALE_S = 5.0
_TIMEOUT_S = 2.0  # of real time; the board answers while the world stands still
_RETRY_S = 0.02  # of virtual time, when the board is busy sending on its line


class Follower:
    """Follows the board of ``pack`` in ``world``, looking every ``period_s`` of virtual time.

    ``log`` has each change of what it drives: virtual time and amperes. ``failures`` counts the
    looks that gave nothing to follow.
    """

    def __init__(self, world: World, pack: Pack, period_s: float = 0.25) -> None:
        port = pack.spec.tcp_port
        if not port:
            raise ValueError(f'pack "{pack.spec.serial}": a follower needs a tcp_port of its own')
        if pack.spec.program:
            raise ValueError(f'pack "{pack.spec.serial}": its tester has a program already')
        self.world = world
        self.pack = pack
        self.period_s = period_s
        self.log: list[tuple[float, float]] = []
        self.failures = 0
        self.running = True
        self._layout = Layout(models.PROTECTION, pack.spec.n_cells)
        self._address = RegisterMap(pack.spec.n_cells).block(models.PROTECTION).address
        self._client = ModbusTcpClient("127.0.0.1", port=port, timeout=_TIMEOUT_S, retries=0)
        self._seq: int | None = None
        self._moved_s = world.time_s
        world.at(world.time_s + period_s, self._look)

    def stop(self) -> None:
        """Open the terminals and follow no longer."""
        self.running = False
        self._client.close()  # type: ignore[no-untyped-call]
        self._drive(OPEN)

    def _look(self) -> None:
        if not self.running:
            return
        state = self.world.station(self.pack).state
        if state == st.SENDING:  # it serves TCP only while it waits
            self.world.at(self.world.time_s + _RETRY_S, self._look)
            return
        self._drive(self._wanted(self._read() if state == st.WAITING else None))
        self.world.at(self.world.time_s + self.period_s, self._look)

    def _read(self) -> dict[str, Any] | None:
        """The PROTECTION model; ``None`` when it cannot be read."""
        try:
            answer = self._client.read_holding_registers(
                self._address, count=self._layout.words, device_id=self.pack.spec.address
            )
            if answer.isError():
                return None
            data = b"".join(word.to_bytes(2, "big") for word in answer.registers)
            return self._layout.decode(data)
        except (ModbusException, OSError, ValueError):
            with contextlib.suppress(OSError):
                self._client.close()  # type: ignore[no-untyped-call]
            return None

    def _wanted(self, block: dict[str, Any] | None) -> Demand:
        now_s = self.world.time_s
        if block is None or block["Seq"] is None or block["Seq"] != block["SeqEnd"]:
            self.failures += 1
            return OPEN
        if block["Seq"] != self._seq:
            self._seq = block["Seq"]
            self._moved_s = now_s
        elif now_s - self._moved_s > STALE_S:
            self.failures += 1
            return OPEN
        asked_a = block["ReqA"] or 0.0
        if asked_a > 0 and block["Cvl"] is not None:
            return Demand(min(asked_a, block["Ccl"] or 0.0), block["Cvl"])
        if asked_a < 0:
            return Demand(max(asked_a, -(block["Dcl"] or 0.0)))
        return OPEN

    def _drive(self, demand: Demand) -> None:
        before_a = self.pack.demand.current_a
        self.pack.demand = demand
        if demand.current_a != before_a:
            self.log.append((self.world.time_s, demand.current_a))
