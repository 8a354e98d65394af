"""The whole firmware in one process: the application on a desk board, emulated chips, cells."""

import gc
import struct
from pathlib import Path

import numpy as np
from core_fakes import Uart

from common import models
from common.codes import Switch
from common.crc import crc16_modbus
from common.history_records import BODIES, READING
from common.registers import Layout
from firmware.app import App
from firmware.boards.desk import DeskBoard
from firmware.settings import Settings
from gateway.history_packets import decode_packet
from sim.afe import afe
from sim.bq76952 import Nack
from sim.ltc6813 import FrontEnd
from sim.pack import Demand, ModelledPack, PackSpec
from sim.station import Chip
from sim.switches import Switches

STEP_MS = 200  # the chip sees the world no finer than this, nor do the cells


class ChipI2C:
    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        try:
            buffer[:] = self.chip.i2c(address, bytes([register]), len(buffer))
        except Nack as nack:
            raise OSError(5, str(nack)) from nack

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        try:
            self.chip.i2c(address, bytes([register]) + bytes(buffer), 0)
        except Nack as nack:
            raise OSError(5, str(nack)) from nack


class Rig(DeskBoard):
    """A board and all around it: time passes for cells and chip as it does for the board."""

    def __init__(self, root: Path, start_ms: int = 0, **spec: object) -> None:
        self.spec = PackSpec("RIG", **{"n_cells": 4, "rated_ah": 10.0, "soc": 0.5, **spec})
        self.pack = ModelledPack(self.spec, np.random.default_rng(1))
        self.chip = afe(self.spec).build(self.spec, 1)
        self.contactors = Switches() if self.spec.settings.get("contactors") else None
        own = self.chip if isinstance(self.chip, FrontEnd) else self.contactors
        super().__init__(ChipI2C(self.chip), Uart(), str(root), start_ms, front_end=own)
        self.settings = Settings.from_dict(self.spec.board_settings())
        self.app: App | None = None
        self.behind_ms = 0  # what the cells have not seen of the time yet
        # The firmware collects garbage every cycle: its own, not that of the whole test run.
        gc.collect()
        gc.freeze()
        self.advance(500)
        self.boot()

    def boot(self) -> App:
        """Switch the board on, anew; chip and cells go on as they are."""
        self.uart.waiting.clear()
        self.fed_ms.clear()
        self.app = App(self, self.settings)
        return self.app

    def advance(self, ms: int) -> None:
        while ms > 0:
            dt_ms = min(ms, STEP_MS)
            ms -= dt_ms
            self.now_ms += dt_ms
            pack, chip = self.pack, self.chip
            self.behind_ms += dt_ms
            if self.behind_ms >= STEP_MS:
                behind_s = self.behind_ms / 1000
                charge, discharge = self.closed
                predischarge = chip.predischarge_fet
                if self.contactors is not None:
                    predischarge = bool(self.contactors.closed & Switch.PREDISCHARGE)
                pack.step(
                    behind_s, charge, discharge, chip.balance_mask, predischarge_on=predischarge
                )
                self.behind_ms = 0
            chip.step(
                dt_ms / 1000,
                pack.cell_v,
                pack.current_a,
                pack.temperatures_c,
                pack.die_c,
                pack.fet_c,
                pack.pack_v,
            )

    def run(self, seconds: float) -> None:
        """Let the board work."""
        end_ms = self.now_ms + round(1000 * seconds)
        while self.now_ms < end_ms:
            self.app.step()

    @property
    def closed(self) -> tuple[bool, bool]:
        if self.contactors is not None:
            closed = self.contactors.closed
            return bool(closed & Switch.CHARGE), bool(closed & Switch.DISCHARGE)
        return bool(self.chip.charge_fet), bool(self.chip.discharge_fet)

    def demand(self, current_a: float, voltage_v: float = 100.0) -> None:
        self.pack.demand = Demand(current_a, voltage_v)

    # --- the host on the line ---------------------------------------------------------------

    def exchange(self, pdu: bytes, unit: int = 1) -> bytes:
        """Send a request, let the board answer; the answer's PDU."""
        frame = bytes([unit]) + pdu
        frame += struct.pack("<H", crc16_modbus(frame, 0, len(frame)))
        self.uart.sent.clear()
        self.uart.waiting += frame
        self.run(0.1)
        answer = bytes(self.uart.sent)
        assert answer, "the board does not answer"
        assert crc16_modbus(answer, 0, len(answer) - 2) == struct.unpack("<H", answer[-2:])[0]
        assert answer[0] == unit
        return answer[1:-2]

    def read(self, model_id: int) -> dict[str, object]:
        """One model as a client sees it."""
        layout = Layout(model_id, self.spec.n_cells)
        address = self.app.image.map.block(model_id).address
        data = b""
        while len(data) < 2 * layout.words:
            words = min(125, layout.words - len(data) // 2)
            answer = self.exchange(struct.pack(">BHH", 3, address + len(data) // 2, words))
            assert answer[0] == 3, answer
            data += answer[2:]
        return layout.decode(data)

    def write(self, model_id: int, point: str, *registers: int) -> bytes:
        """Write one point; the answer's PDU."""
        block = self.app.image.map.block(model_id)
        address = block.address + block.layout.offset(point)
        n = len(registers)
        return self.exchange(struct.pack(f">BHHB{n}H", 16, address, n, 2 * n, *registers))

    def command(self, code: int) -> int:
        """Give a command; what became of it."""
        self.write(models.CONTROL, "Cmd", code)
        result = self.read(models.CONTROL)["CmdRes"]
        assert isinstance(result, int)
        return result

    def records(self) -> "list[tuple[int, tuple]]":
        """``(kind, values)`` of all history that is kept; of a reading its cells."""
        found: list[tuple[int, tuple]] = []
        last = self.read(models.HISTORY)["Last"]
        while isinstance(last, int) and len(found) < last:
            asked = len(found) + 1
            answer = self.exchange(struct.pack(">BBBHHH", 20, 7, 6, 1, asked, 124))
            assert answer[:4] == bytes([20, 250, 249, 6]), answer
            packet = decode_packet(answer[4:], self.spec.n_cells, self.settings.serial, asked)
            assert packet.first == asked
            assert packet.records
            for record, _canonical in packet.records:
                body = struct.unpack("<" + BODIES[record.kind], record.body)
                cells = tuple(record.values[: self.spec.n_cells])
                found.append((record.kind, cells if record.kind == READING else body))
        return found

    def snapshot(self) -> dict[str, object]:
        return self.read(models.SNAPSHOT)
