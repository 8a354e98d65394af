"""A fake pack with a real history: the firmware's own, behind the firmware's function 20."""

from types import SimpleNamespace

from gateway_fakes import FakePack
from history_bench import Bench

from common import models
from firmware.modbus.pdu import PduServer


class RecordingPack(FakePack):
    """Its history is what ``bench`` records; everything else is the fake's."""

    def __init__(self, root, serial="EB-1", n_cells=16, **settings):
        self.bench = Bench(root, n_cells, serial, **settings)
        self.server = PduServer(self.bench.map, SimpleNamespace())
        self.file_requests = 0
        super().__init__(serial, n_cells)

    def _measure(self):
        super()._measure()
        block = self.map.block(models.HISTORY)
        block.put_bytes(0, bytearray(self.bench.map.block(models.HISTORY).bytes()))
        block.set("SnCrc", self.map.block(models.SNAPSHOT).get("SnCrc"))
        block.set("Seq", self.seq)
        block.set("SeqEnd", self.seq)

    def _answer(self, pdu):
        if pdu[0] != 20:
            return super()._answer(pdu)
        self.file_requests += 1
        self.server.files = self.bench.history.file
        response = bytearray(253)
        return bytes(response[: self.server.handle(bytearray(pdu), len(pdu), response)])
