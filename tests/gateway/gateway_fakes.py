"""A pack as the gateway sees it, on a bus that can be made to misbehave, in a time of its own.

``FakePack`` owns its register image and answers Modbus requests; every figure it serves follows
from (serial, boot, seq), so that a test can tell a right value from a wrong one.
"""

import asyncio
import contextlib
import random
import selectors
import socketserver
import struct
import threading
import zlib
from collections import OrderedDict, deque

from common import models
from common.crc import crc16_modbus
from common.registers import RegisterMap
from gateway.modbus.line import Line


def figure(low, high, *identity):
    """A number in ``low..high`` that follows from ``identity``."""
    return low + zlib.crc32(repr(identity).encode()) % (high - low + 1)


class FakePack:
    def __init__(self, serial="EB-1", n_cells=16, every=10, depth=64, boot=1):
        self.map = RegisterMap(n_cells)
        self.serial, self.n_cells, self.every, self.depth = serial, n_cells, every, depth
        self.requests = []
        self.utc = None
        self.lock = threading.Lock()
        self.fault_counts, self.unsaved = {}, 0
        self.truth = {}  # (boot, seq): cell voltages in mV
        common = self.map.block(models.COMMON)
        common.set_text("Mn", "Echelon")
        common.set_text("Md", "Test pack")
        common.set_text("Vr", "0.1.0")
        common.set_text("SN", serial)
        common.set("DA", 1)
        self.map.block(models.DEVICE).set("MapVer", models.MAP_VERSION)
        for model_id in models.OURS:
            if model_id != models.CONTROL:
                block = self.map.block(model_id)
                block.set("SnCrc", zlib.crc32(serial.encode()))
                if "SnEnd" in block.layout.index:
                    block.set("SnEnd", zlib.crc32(serial.encode()))
        self.boot = boot - 1
        self.restart()

    def restart(self):
        """A new boot: the sequence begins anew and the ring is empty."""
        self.boot += 1
        self.seq = 0
        self.ring = OrderedDict()
        self.utc = None
        for model_id in models.OURS:
            block = self.map.block(model_id)
            for name in ("Seq", "SeqEnd"):
                if name in block.layout.index:
                    block.set(name, None)

    def measure(self, cycles=1):
        with self.lock:
            for _ in range(cycles):
                self._measure()

    def _measure(self):
        self.seq += 1
        cells_mv = [
            figure(2800, 4200, self.serial, self.boot, self.seq, n) for n in range(self.n_cells)
        ]
        self.truth[self.boot, self.seq] = cells_mv
        for model_id in models.OURS:
            block = self.map.block(model_id)
            for name, value in (("Seq", self.seq), ("SeqEnd", self.seq), ("Boot", self.boot)):
                if name in block.layout.index and model_id != models.RECALL:
                    block.set(name, value)
            if block.layout.n_cells and model_id != models.RECALL:
                block.set("NCell", self.n_cells)
        snapshot = self.map.block(models.SNAPSHOT)
        snapshot.set("UpS", self.seq)
        snapshot.set("UpMs", 0)
        snapshot.set("V", sum(cells_mv))
        snapshot.set("A", figure(-30000, 30000, self.serial, self.boot, self.seq))
        snapshot.set("St", 3)
        snapshot.set("Sw", 3)
        for name in ("Flt", "Ltc", "Bal", "Bal2", "Bal3"):
            snapshot.set(name, 0)
        snapshot.set("TQual", 0 if self.utc is None else 1)
        snapshot.set("Utc", self.utc)
        for n, cell_mv in enumerate(cells_mv):
            snapshot.set_cell("V", n, cell_mv)
            self.map.block(models.HEALTH).set_cell("Soh", n, self.detail_figure("health", n))
            self.map.block(models.ENERGY).set_cell("Bled", n, self.detail_figure("energy", n))
        self.map.block(models.LIFETIME).set("ChaAh", self.detail_figure("lifetime"))
        self.map.block(models.PROTECTION).set("NFlt", self.detail_figure("protection") % 60000)
        self.map.block(models.TEST).set("Left", self.detail_figure("test"))
        self.map.block(models.SETTINGS).set("NFail", self.detail_figure("settings"))
        self.map.block(models.HISTORY).set("Used", self.detail_figure("history"))
        device = self.map.block(models.DEVICE)
        device.set("MemFree", self.detail_figure("device"))
        device.set("RecEvery", self.every)
        device.set("RecDepth", self.depth)
        device.set("TQual", 0 if self.utc is None else 1)
        if self.seq % self.every == 0:
            self.ring[self.seq] = snapshot.bytes()
            while len(self.ring) > self.depth:
                self.ring.popitem(last=False)
        device.set("RecFirst", next(iter(self.ring), None))
        device.set("RecLast", next(reversed(self.ring), None))

    def detail_figure(self, what, n=0, seq=None):
        return figure(1, 9000, self.serial, self.boot, self.seq if seq is None else seq, what, n)

    def answer(self, pdu):
        """The answer to a request, both from the function code on."""
        with self.lock:
            return self._answer(pdu)

    def _answer(self, pdu):
        function = pdu[0]
        self.requests.append(pdu)
        if function == 3:
            return self._read(3, *struct.unpack(">HH", pdu[1:5]))
        if function == 16:
            address, count = struct.unpack(">HH", pdu[1:5])
            self._write(address, pdu[6 : 6 + 2 * count])
            return pdu[:5]
        if function == 23:
            address, count, write_address, write_count = struct.unpack(">HHHH", pdu[1:9])
            self._write(write_address, pdu[10 : 10 + 2 * write_count])
            return self._read(23, address, count)
        return bytes([function | 0x80, 1])

    def _read(self, function, address, count):
        at = 2 * (address - models.BASE_ADDRESS)
        if at < 0 or at + 2 * count > len(self.map.image):
            return bytes([function | 0x80, 2])
        return bytes([function, 2 * count]) + bytes(self.map.image[at : at + 2 * count])

    def _write(self, address, data):
        at = 2 * (address - models.BASE_ADDRESS)
        self.map.image[at : at + len(data)] = data
        control = self.map.block(models.CONTROL)
        if address == control.address + control.layout.offset("SetUtc"):
            self.utc = control.get("SetUtc")
        if address == control.address + control.layout.offset("RecSel"):
            self._recall(control.get("RecSel"))
        if address == control.address + control.layout.offset("FltSel"):
            self._tell_fault(control.get("FltSel"))

    def _tell_fault(self, number):
        block = self.map.block(models.FAULTS)
        block.set("FltNo", number)
        count = self.fault_counts.get(number, 0)
        block.set("FltN", count)
        for name in ("FstSeq", "LstSeq", "Val"):
            block.set(name, self.fault_figure(number, name) if count else None)
        block.set("NFlt", sum(self.fault_counts.values()))
        block.set("Ever", sum(1 << n for n in self.fault_counts))
        block.set("Unsvd", self.unsaved)

    def fault_figure(self, number, what):
        return figure(1, 9000, self.serial, number, self.fault_counts[number], what)

    def _recall(self, seq):
        recall = self.map.block(models.RECALL)
        kept = self.ring.get(seq)
        if kept is None:
            recall.clear()
            recall.set("SnCrc", zlib.crc32(self.serial.encode()))
            recall.set("NCell", self.n_cells)
            recall.set("Seq", seq)
            recall.set("SeqEnd", seq)
            return
        self.map.image[recall.start : recall.start + len(kept)] = kept
        recall.set("ID", models.RECALL)


def rtu(unit, pdu):
    frame = bytes([unit]) + pdu
    return frame + crc16_modbus(frame, 0, len(frame)).to_bytes(2, "little")


class MemoryBus:
    """An RS-485 line in memory. ``fault(frame) -> [(delay_s, bytes)]`` spoils the answers."""

    def __init__(self, packs, fault=None):
        self.packs = packs  # {unit: FakePack}
        self.fault = fault or (lambda frame: [(0.002, frame)])
        self.opened = 0

    async def open(self):
        self.opened += 1
        return MemoryLine(self)


class MemoryLine(Line):
    def __init__(self, bus):
        super().__init__()
        self.bus = bus

    def write(self, data):
        unit, pdu, loop = data[0], data[1:-2], asyncio.get_running_loop()
        assert rtu(unit, pdu) == data
        pack = self.bus.packs.get(unit)
        if pack is None:
            return
        for delay_s, received in self.bus.fault(rtu(unit, pack.answer(pdu))):
            loop.call_later(delay_s, self.data_received, received)

    def close(self):
        self.lost = "closed"


class Faults:
    """Answers that are spoiled in every way a line and its units know, by a seed.

    ``stale`` is an answer of the same shape that the same unit gave before; ``foreign`` one that
    another unit gave, under the address of the one that was asked, with a checksum that fits.
    """

    KINDS = (
        "late", "too_late", "drop", "double", "corrupt", "truncate", "merge", "stale", "foreign",
    )  # fmt: skip

    def __init__(self, seed, share=0.4):
        self.random = random.Random(seed)
        self.share = share
        self.counts = dict.fromkeys(self.KINDS, 0)
        self.held = b""
        self.given = {}  # (unit, shape): the last answers
        self.shapes = set()  # those of ``stale`` and ``foreign`` answers

    def _given(self, frame, others):
        """An earlier answer of the shape of ``frame``, of another unit or of the same."""
        shape = len(frame), frame[1]
        kept = self.given.setdefault((frame[0], shape), deque(maxlen=20))
        found = [
            each
            for (unit, known), frames in self.given.items()
            if known == shape and (unit != frame[0]) == others
            for each in frames
        ]
        kept.append(frame)
        if not found:
            return frame
        self.shapes.add(shape)
        return rtu(frame[0], self.random.choice(found)[1:-2])

    def __call__(self, frame):
        rng = self.random
        stale, foreign = self._given(frame, False), self._given(frame, True)
        before, self.held = self.held, b""
        if rng.random() >= self.share:
            return [(0.004, before + frame)]
        kind = rng.choice(self.KINDS)
        self.counts[kind] += 1
        if kind == "late":  # after the timeout, within what the drain allows for
            return [(rng.uniform(0.05, 0.14), before + frame)]
        if kind == "too_late":  # later than a unit may ever answer
            return [(rng.uniform(0.14, 2.0), before + frame)]
        if kind == "double":
            return [(0.004, frame), (rng.uniform(0.004, 0.3), frame)]
        if kind == "corrupt":
            damaged = bytearray(frame)
            for bit in rng.sample(range(8 * len(frame)), rng.choice((1, 2, 3))):
                damaged[bit // 8] ^= 1 << bit % 8
            return [(0.004, bytes(damaged))]
        if kind == "truncate":
            return [(0.004, frame[: rng.randrange(1, len(frame))])]
        if kind == "stale":
            return [(0.004, stale)]
        if kind == "foreign":
            return [(0.004, foreign)]
        if kind == "merge":  # comes together with the next answer
            self.held = frame
        return []


class _VirtualSelector(selectors.DefaultSelector):
    loop = None

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(None)  # a thread is at work
        if not ready and timeout:
            self.loop.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        selector = _VirtualSelector()
        super().__init__(selector)
        selector.loop = self
        self.now_s = 1000.0

    def time(self):
        return self.now_s


def run_virtual(coroutine):
    """Run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


class PackTcpServer:
    """Packs behind Modbus TCP on a port of this machine."""

    def __init__(self, packs):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    while head := self._exactly(7):
                        number, _, length, unit = struct.unpack(">HHHB", head)
                        pdu = self._exactly(length - 1)
                        pack = packs.get(unit)
                        if pack is not None:
                            answer = pack.answer(pdu)
                            if answer is None:
                                continue  # lost on its way
                            head = struct.pack(">HHHB", number, 0, len(answer) + 1, unit)
                            self.request.sendall(head + answer)

            def _exactly(self, count):
                data = b""
                while len(data) < count:
                    more = self.request.recv(count - len(data))
                    if not more:
                        return b""
                    data += more
                return data

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"tcp://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
