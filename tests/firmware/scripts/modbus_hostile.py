"""Runs on any interpreter: a hostile RTU line, and after each piece of it what must still hold.

    micropython modbus_hostile.py FRAMES SEED

Frames come from a grammar (every function served, with right and odd fields), then half of them
are spoiled: wrong checksum, bits turned, cut, made longer, in two halves with silence between,
glued to others, buried in noise, floods longer than the buffer, addressed to others or to all.

What is held against the board after each piece between two silences, by the piece's bytes alone:

- an answer only where the piece ends in a request for the board with a right checksum; its
  address, function and checksum are those of an answer to such a request; never two answers;
- a register changes, or a command is carried out, only where such a request, or a broadcast,
  writes exactly there;
- every hundredth time a plain read is answered at once and rightly.

The checksum here is reckoned bit by bit, apart from the firmware's. Prints what it sent, and on
MicroPython by how many bytes the heap has grown. Any breach ends the run with its piece.
"""

import gc
import random
import sys

from common import models
from common.codes import CommandResult
from common.registers import RegisterMap
from firmware.board import Board
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.rtu import RtuServer

ADDRESS = 17
SILENCE_MS = 3
NOISE = 100  # bytes that what is left on the stack may hold
BASE = models.BASE_ADDRESS


def crc_table():
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return table


TABLE = crc_table()


def crc(data, start, end):
    value = 0xFFFF
    for at in range(start, end):
        value = value >> 8 ^ TABLE[(value ^ data[at]) & 0xFF]
    return value


def framed(address, pdu):
    data = bytes([address]) + pdu
    value = crc(data, 0, len(data))
    return data + bytes([value & 0xFF, value >> 8])


def words(*values):
    return b"".join([bytes([value >> 8 & 0xFF, value & 0xFF]) for value in values])


class Line:
    """The UART; the other end is this script."""

    def __init__(self):
        self.waiting = b""
        self.sent = []

    def any(self):
        return len(self.waiting)

    def readinto(self, buffer):
        n = min(len(buffer), len(self.waiting))
        buffer[:n] = self.waiting[:n]
        self.waiting = self.waiting[n:]
        return n

    def write(self, buffer):
        self.sent.append(bytes(buffer))
        return len(buffer)


class Clock(Board):
    """A board with nothing but a line and a clock that wraps, moved by hand."""

    def __init__(self):
        self.now_ms = 2**30 - 50000
        self.uart = Line()

    def ticks_ms(self):
        return self.now_ms % 2**30

    def ticks_diff(self, later, earlier):
        return (later - earlier + 2**29) % 2**30 - 2**29

    def ticks_add(self, ticks, delta):
        return (ticks + delta) % 2**30


class Told(Commands):
    """Counts what was carried out."""

    def __init__(self):
        self.count = 0

    def command(self, code):
        self.count += 1
        return CommandResult.DONE if code < 4 else CommandResult.REFUSED_UNKNOWN

    def set_utc(self, utc_s):
        self.count += 1

    def recall(self, seq):
        self.count += 1
        return False

    def tell_fault(self, number):
        self.count += 1


class Limits:
    """Takes settings, and counts how often."""

    def __init__(self, told):
        self.told = told

    def receive(self, data, at):
        self.told.count += 1
        return self.told.count % 2 == 0

    def tell_bounds(self, place):
        self.told.count += 1


class Bench:
    """A board's Modbus server on the line."""

    def __init__(self):
        self.board = Clock()
        self.line = self.board.uart
        self.map = RegisterMap(16)
        self.map.block(models.COMMON).set_text("SN", "HOSTILE")
        self.map.block(models.BATTERY).set("AlmRst", 0)
        self.told = Told()
        self.pdu = PduServer(self.map, self.told)
        self.pdu.limits = Limits(self.told)
        self.rtu = RtuServer(self.board, self.pdu, ADDRESS, 115200)
        self.writable = {}  # register -> point's first register
        sealed = (models.SETTINGS, models.CALIBRATION, models.IDENTITY)
        self.pdu.provisions = dict.fromkeys(sealed[1:], self.pdu.limits)
        self.wholes = []  # registers that are written together, with a response
        for block in map(self.map.block, sealed):
            ends = (block.layout.offset("Resp1"), block.layout.offset("SeqEnd"))
            self.wholes.append(range(block.address + ends[0], block.address + ends[1]))
        own = {register for whole in self.wholes for register in whole}
        for block in self.map.blocks:
            for offset, n, rw in map(block.layout.place, block.layout.index):
                if rw and block.address + offset not in own:
                    for k in range(n):
                        self.writable[block.address + offset + k] = block.address + offset
        control = self.map.block(models.CONTROL)
        self.result = control.address + control.layout.offset("CmdRes")
        self.points = sorted(self.writable)

    def hear(self, piece):
        """A piece of the line's traffic, with the silence behind it; what was answered."""
        self.line.sent = []
        self.line.waiting = piece
        while self.line.waiting:
            self.rtu.poll()
        for _ in range(SILENCE_MS):
            self.board.now_ms += 1
            self.rtu.poll()
        return self.line.sent


def some_write(bench):
    """A right write of one whole point, or of all settings, or of nearly all."""
    if random.getrandbits(3) == 0:
        whole = bench.wholes[random.randint(0, len(bench.wholes) - 1)]
        first = whole[0] + (0, 0, 0, 1, -1)[random.randint(0, 4)]
        n = len(whole) - (0, 0, 0, 1)[random.getrandbits(2)]
        return b"\x10" + words(first, n) + bytes([2 * n]) + bytes(2 * n)
    first = bench.writable[bench.points[random.randint(0, len(bench.points) - 1)]]
    n = len([at for at in bench.points if bench.writable[at] == first])
    data = words(*[random.getrandbits(2) for _ in range(n)])
    return b"\x10" + words(first, n) + bytes([2 * n]) + data


def some_pdu(bench):
    """A request of any function; fields are often right, sometimes odd."""
    draw = random.getrandbits
    if random.randint(0, 7) == 0:
        return some_write(bench)
    function = (3, 3, 4, 6, 16, 16, 23, 8, 43, draw(8))[random.randint(0, 9)]
    address = BASE + random.randint(-3, bench.map.words + 3)
    if draw(1):
        address = bench.points[random.randint(0, len(bench.points) - 1)]
    count = (1, 2, 4, 125, 126, 0, draw(16))[random.randint(0, 6)]
    value = (0, 1, 2, 3, 7, draw(16))[random.randint(0, 5)]
    if function in (3, 4):
        pdu = words(address, count)
    elif function == 6:
        pdu = words(address, value)
    elif function == 16:
        n = (1, 2, 2, draw(7))[random.randint(0, 3)]
        data = words(*[value if draw(1) else draw(16) for _ in range(n)])
        pdu = words(address, n) + bytes([2 * n & 0xFF]) + data
    elif function == 23:
        n = random.randint(1, 3)
        to = bench.points[random.randint(0, len(bench.points) - 1)]
        pdu = words(address, count, to, n) + bytes([2 * n]) + words(*[draw(16) for _ in range(n)])
    elif function == 8:
        pdu = words((0, 1, 2, 10, 11, 13, 18, 20, draw(16))[random.randint(0, 8)], value)
    elif function == 43:
        pdu = bytes([(14, 13)[draw(1)], random.randint(0, 5), draw(8)])
    else:
        pdu = bytes([draw(8) for _ in range(random.randint(0, 12))])
    if random.randint(0, 9) == 0:
        pdu = pdu[: random.randint(0, len(pdu))] + bytes([draw(8) for _ in range(draw(2))])
    return bytes([function]) + pdu


def spoiled(frame):
    """One of the ways in which a line spoils a frame."""
    how = random.randint(0, 7)
    noise = bytes([random.getrandbits(8) for _ in range(random.randint(1, 20))])
    if how == 0:
        at = random.randint(0, len(frame) - 1)
        return frame[:at] + bytes([frame[at] ^ 1 << random.getrandbits(3)]) + frame[at + 1 :]
    if how == 1:
        return frame[: random.randint(0, len(frame) - 1)]
    if how == 2:
        return frame + noise
    if how == 3:
        return noise + frame
    if how == 4:
        return frame + frame
    if how == 5:
        return frame[: random.randint(1, len(frame))] + frame
    if how == 6:
        return noise
    if random.randint(0, 63) == 0:  # dear: a flood of several buffers
        return noise * 40 * random.randint(1, 4) + frame
    return frame[:-1] + bytes([frame[-1] ^ 0x40])


def some_piece(bench):
    who = (ADDRESS, ADDRESS, ADDRESS, 0, 9, 247, random.getrandbits(8))[random.randint(0, 6)]
    frame = framed(who, some_pdu(bench))
    kind = random.getrandbits(3)
    if kind < 4:
        return frame
    if kind < 7:
        return spoiled(frame)
    return framed(random.getrandbits(8), some_pdu(bench)) + frame


def requests_in(piece):
    """Where the piece may rightly be taken for a request: whole, or its tail, checksum right."""
    end = len(piece)
    found = []
    for start in range(max(0, end - 256), end - 3):
        mine = piece[start] == ADDRESS or (start == 0 and piece[0] == 0)
        if mine and crc(piece, start, end - 2) == piece[end - 2] | piece[end - 1] << 8:
            found.append(piece[start : end - 2])
    return found


def written(request):
    """Registers that a request writes."""
    function = request[1]
    at = 6 if function == 23 else 2
    if function not in (6, 16, 23) or len(request) < at + 2:
        return ()
    first = request[at] << 8 | request[at + 1]
    count = 1
    if function != 6:
        if len(request) < at + 4:
            return ()
        count = min(request[at + 2] << 8 | request[at + 3], 123)
    return range(first, first + count)


def breach(bench, piece, before, told, sent):
    """What a piece did that it must not do; ``None`` when all is well."""
    requests = requests_in(piece)
    if len(sent) > 1:
        return "two answers"
    if sent:
        answer = sent[0]
        if crc(answer, 0, len(answer) - 2) != answer[-2] | answer[-1] << 8 or len(answer) > 256:
            return "an answer with a wrong checksum"
        asked = [r[1] & 0x7F for r in requests if r[0] == ADDRESS]
        if answer[0] != ADDRESS or answer[1] & 0x7F not in asked:
            return "an answer to nobody's question"
    allowed = set()
    for request in requests:
        allowed.update(written(request))
    after = bench.map.image
    if after != before:
        for at in range(0, len(after), 2):
            if after[at : at + 2] == before[at : at + 2]:
                continue
            register = BASE + at // 2
            if register != bench.result and (
                register not in allowed or register not in bench.writable
            ):
                return f"register {register} changed"
    given = any(whole[0] in allowed and whole[-1] in allowed for whole in bench.wholes)
    if bench.told.count != told and not (given or [r for r in allowed if r in bench.writable]):
        return "a command that nobody gave"
    return None


def main(frames, seed):
    random.seed(seed)
    bench = Bench()
    for n in range(251):  # an answer of each length is made ready when it is first needed
        bench.hear(framed(ADDRESS, b"\x08\x00\x00" + bytes(n)))
    for register in bench.points[:8]:  # likewise the parts of the image that are kept
        for count in (1, 2, 4, 125):
            bench.hear(framed(ADDRESS, b"\x03" + words(register, count)))
    plain = framed(ADDRESS, b"\x03" + words(BASE, 2))
    right = framed(ADDRESS, b"\x03\x04SunS")
    answers = refused = 0
    heap = [1 << 28, 1 << 28]  # the least taken in the first half and in the second
    for n in range(frames):
        piece = some_piece(bench)
        before = bytes(bench.map.image)
        told = bench.told.count
        sent = bench.hear(piece)
        wrong = breach(bench, piece, before, told, sent)
        if wrong:
            print("frame", n, wrong, piece.hex(), [answer.hex() for answer in sent])
            return 1
        if sent:
            answers += 1
            refused += sent[0][1] >> 7
        if n % 100 == 99 and bench.hear(plain) != [right]:
            print("frame", n, "no plain service behind", piece.hex())
            return 1
        if hasattr(gc, "mem_alloc") and n % (frames // 40) == 0:
            piece = before = sent = None
            bench.line.sent = []
            gc.collect()
            half = 2 * n // frames
            heap[half] = min(heap[half], gc.mem_alloc())  # what is on the stack adds to it
    print("frames", frames)
    print("answers", answers, "of them exceptions", refused)
    print("commands", bench.told.count)
    if hasattr(gc, "mem_alloc"):
        print("grown", heap[1] - heap[0])
        if heap[1] - heap[0] > NOISE:
            return 1
    return 0


sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
