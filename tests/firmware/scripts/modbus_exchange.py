"""Runs on both interpreters: prints what the Modbus server answers to a list of requests.

Last lines, on MicroPython only: how many bytes of the heap a hundred rounds of them took, and how
many a hundred settings of the clock, whose seconds since 1970 are no small integer on a board.
"""

import gc

from common import models
from common.codes import CommandResult
from common.registers import RegisterMap
from firmware.modbus.pdu import Commands, PduServer


class Told(Commands):
    """Takes every command; allocates nothing, for the heap is being watched."""

    def command(self, code):
        return CommandResult.DONE if code < 3 else CommandResult.REFUSED_UNSAFE

    def set_utc(self, utc_s):
        pass

    def recall(self, seq):
        return False

    def tell_fault(self, number):
        pass


def registers(*words):
    return b"".join([bytes((word >> 8, word & 0xFF)) for word in words])


pack = RegisterMap(16)
pack.block(models.COMMON).set_text("Mn", "Echelon")
pack.block(models.COMMON).set_text("Md", "Pack 16S")
pack.block(models.COMMON).set_text("Vr", "1.2.3")
pack.block(models.COMMON).set_text("SN", "PACK-0001")
pack.block(models.SNAPSHOT).set("A", -1500)
pack.block(models.BATTERY).set("AlmRst", 0)
control = pack.block(models.CONTROL)
battery = pack.block(models.BATTERY)
alarm = battery.address + battery.layout.offset("AlmRst")
set_op = battery.address + battery.layout.offset("SetOp")

set_clock = b"\x10" + registers(control.address + 4, 4) + b"\x08" + registers(0x6789, 0, 0, 77)
requests = [
    b"\x03" + registers(40000, 125),
    b"\x04" + registers(40000, 2),
    b"\x03" + registers(39999, 1),
    b"\x03" + registers(40000, 126),
    b"\x03" + registers(40000 + pack.words - 1, 2),
    b"\x06" + registers(control.address + 2, 1),
    b"\x06" + registers(alarm, 1),
    b"\x06" + registers(alarm, 2),
    b"\x06" + registers(set_op, 2),
    b"\x06" + registers(40000, 1),
    set_clock,
    b"\x10" + registers(control.address + 4, 1) + b"\x02" + registers(0x6789),
    b"\x17" + registers(40070, 4, control.address + 6, 2) + b"\x04" + registers(0, 78),
    b"\x08" + registers(0, 0xABCD, 0x1234),
    b"\x08" + registers(13, 0),
    b"\x2b\x0e\x01\x00",
    b"\x2b\x0e\x03\x00",
    b"\x2b\x0e\x04\x80",
    b"\x2b\x0e\x04\x33",
    b"\x01" + registers(0, 1),
]
server = PduServer(pack, Told())
request = bytearray(256)
response = bytearray(256)


def exchange(asked):
    answered = 0
    for data in asked:
        for i in range(len(data)):
            request[i] = data[i]
        answered += server.handle(request, len(data), response)
    return answered


for data in requests:
    request[: len(data)] = data
    n = server.handle(request, len(data), response)
    print(bytes(response[:n]).hex())


def allocated(asked):
    exchange(asked)  # whatever is made once, is made now
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(100):
        exchange(asked)
    return gc.mem_alloc() - before


if hasattr(gc, "mem_alloc"):
    print("allocated", allocated([data for data in requests if data is not set_clock]))
    print("setting the clock", allocated([set_clock]))
