"""Runs on any interpreter: limits set over Modbus, in the whole application on a chip that obeys.

    micropython remote_settings.py ROOT

ROOT is an empty folder. Prints what became of each write, the settings then in force, and on
MicroPython the bytes that a hundred idle updates, and a hundred while slowed, took.
"""

import gc
import os
import struct
import sys

from common import models
from common.hmac256 import hmac_sha256
from firmware import app as application
from firmware.afe import Afe, AfeSettingsError
from firmware.board import Board
from firmware.settings import Settings

KEY = bytes(range(200, 232))
FORMAT = ">11H6h2L"


class Clock(Board):
    i2c = None
    uart = None
    now_ms = 2**30 - 9000

    def __init__(self, root):
        self.root = root

    def ticks_ms(self):
        return self.now_ms % 2**30

    def ticks_us(self):
        return 0

    def ticks_diff(self, later, earlier):
        return (later - earlier + 2**29) % 2**30 - 2**29

    def ticks_add(self, ticks, delta):
        return (ticks + delta) % 2**30

    def feed_watchdog(self):
        pass


class Chip(Afe):
    switches = 0
    most_ma = 300000

    def configure(self, settings):
        if settings.ocd_ma > self.most_ma:
            raise AfeSettingsError("too much for this chip")

    def read(self, s):
        for i in range(s.n_cells):
            s.cell_mv[i] = 3700
        s.stack_mv = 3700 * s.n_cells
        s.temp_dc[0] = 250
        s.current_ma = 0
        s.delta_uah = 0
        s.switches = self.switches
        s.balancing = 0

    look = read

    def set_switches(self, allowed):
        self.switches = allowed

    def set_balancing(self, cells):
        pass


board = Clock(sys.argv[1])
with open(board.root + "/device.key", "wb") as file:  # noqa: PTH123
    file.write(b"".join([b"%02x" % byte for byte in KEY]) + b"\n")


def start(rated_mah=300000):
    app = application.App(board, Settings("P\u00e4ck", 16, "nmc", rated_mah), Chip())
    run(app, 6)
    return app


def run(app, seconds):
    for _ in range(seconds):
        board.now_ms += 1000
        app.executive.run_once()


def ask(app, pdu):
    answer = bytearray(253)
    n = app.pdu_server.handle(bytearray(pdu), len(pdu), answer)
    return bytes(answer[:n])


def values_of(app):
    block = app.image.map.block(models.SETTINGS)
    at = 2 * block.layout.offset(models.REMOTE[0])
    return list(struct.unpack(FORMAT, block.bytes()[at : at + struct.calcsize(FORMAT)]))


def write(app, changes, key=KEY):
    block = app.image.map.block(models.SETTINGS)
    layout = block.layout
    at = 2 * layout.offset("Chal1")
    challenge = block.bytes()[at : at + 16]
    values = values_of(app)
    for name in changes:
        values[models.REMOTE.index(name)] = changes[name]
    data = struct.pack(FORMAT, *values)
    data = hmac_sha256(key, challenge, "P\u00e4ck".encode(), data) + data
    n = len(data)
    head = struct.pack(">BHHB", 16, block.address + layout.offset("Resp1"), n // 2, n)
    answer = ask(app, head + data)
    run(app, 4)
    print(
        answer[:1] == b"\x10", block.get("SetSt"), block.get("SetRes"), block.get("SetSrc"),
        block.get("Ref1"), block.get("Ref2"), block.get("Wait"), block.get("NFail"),
        block.get("FailUtc"), values_of(app), app.protection.table[3], app.settings.config_crc,
    )  # fmt: skip


def heap_of(app, updates):
    """Bytes that updates take, where the interpreter can tell."""
    if not hasattr(gc, "mem_alloc"):
        return 0
    update = app.remote.update
    update()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(updates):
        update()
    took = gc.mem_alloc() - before
    gc.enable()
    return took


app = start()
write(app, {})  # connected
app.command(3)
run(app, 2)
write(app, {"ocd_ma": 250000, "occ_ma": 65536, "utc_dc": 15, "cov_mv": 4201})
write(app, {"ocd_ma": 4294967295})
write(app, {"utc_dc": -32768})
write(app, {"cuv_release_mv": 4200})
app.afe.most_ma = 200000
write(app, {"ocd_ma": 240000})
write(app, {"ocd_ma": 199999})
print("idle", heap_of(app, 100))
app.set_utc(1900000000)  # past 31 bits
write(app, {}, bytes(32))
run(app, 2)
write(app, {}, KEY + b"\0")  # the same key to HMAC
for _ in range(4):
    run(app, 9)
    write(app, {}, bytes(31))
print("slowed", heap_of(app, 100))
app = start()
app.command(3)
write(app, {})
run(app, 20)
write(app, {"cov_mv": 4202})
app = start()
print(values_of(app), app.image.map.block(models.SETTINGS).get("SetSrc"))
app = start(299999)
print(values_of(app), app.image.map.block(models.SETTINGS).get("SetSrc"))
os.remove(board.root + "/device.key")  # noqa: PTH107
app = start()
write(app, {})
