"""A board on USB, played in MicroPython: a raw REPL over real littlefs. Tests only.

    micropython board_on_usb.py FLASH '{"platform": "rp2", "mpy": 7942, ...}'

FLASH is the board's flash, a file: what a power cut leaves of it is there at the next start. The
REPL is on standard input and output, which are the board's port. Exit code 3: it was reset.

A firmware that runs has a watchdog, which bites ``watchdog_ms`` after it was interrupted, which
here is after the start: with ``main.py`` and ``settings.json`` on the board it resets it.
"""

import binascii
import io
import json
import os
import select
import sys
import time

RESET = 3
BLOCK_BYTES = 4096
WINDOW_BYTES = 128


class PowerCutError(BaseException):
    """The supply fails here."""


class Flash:
    """A block device in a file.

    With ``cut_at`` the write of that number, from 0, is torn: half of it is done, and the power is
    off. Beside it, in FLASH.count, the number goes on over the board's restarts.
    """

    def __init__(self, path, n_blocks, cut_at=None):
        self._cut_at = cut_at
        self._count = None
        if cut_at is not None:
            try:
                self._count = open(path + ".count", "r+")
            except OSError:
                with open(path + ".count", "w") as file:
                    file.write("0\n")
                self._count = open(path + ".count", "r+")
        try:
            self._file = open(path, "r+b")
        except OSError:
            with open(path, "wb") as file:
                for _ in range(n_blocks):
                    file.write(b"\xff" * BLOCK_BYTES)
            self._file = open(path, "r+b")
        self._n_blocks = os.stat(path)[6] // BLOCK_BYTES

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * BLOCK_BYTES + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        cut = self._is_cut()
        self._file.seek(block * BLOCK_BYTES + offset)
        self._file.write(memoryview(buffer)[: len(buffer) // 2] if cut else buffer)
        self._file.flush()
        if cut:
            raise PowerCutError

    def _is_cut(self):
        if self._count is None:
            return False
        self._count.seek(0)
        n = int(self._count.read())
        self._count.seek(0)
        self._count.write("%d\n" % (n + 1))
        self._count.flush()
        return n == self._cut_at

    def ioctl(self, op, _argument):
        if op == 4:
            return self._n_blocks
        if op == 5:
            return BLOCK_BYTES
        return 0


def mount(path, n_blocks=256, cut_at=None):
    """The board's flash at /flash, formatted when it is new."""
    flash = Flash(path, n_blocks, cut_at)
    try:
        file_system = os.VfsLfs2(flash, progsize=256)
    except OSError:
        os.VfsLfs2.mkfs(flash, progsize=256)
        file_system = os.VfsLfs2(flash, progsize=256)
    os.mount(file_system, "/flash")


class Machine:
    def __init__(self, unique_id):
        self._unique_id = unique_id

    def unique_id(self):
        return binascii.unhexlify(self._unique_id)

    def reset(self):
        raise SystemExit(RESET)


class Implementation:
    def __init__(self, about):
        self.name = about.get("name", "micropython")
        self.version = tuple(about.get("version", (1, 29, 0, "")))
        self._mpy = about["mpy"]


class System:
    """What code on the board sees as ``sys``."""

    def __init__(self, about):
        self.platform = about["platform"]
        self.implementation = Implementation(about)
        self.path = sys.path
        self.modules = sys.modules
        self.print_exception = sys.print_exception
        self.stdout = sys.stdout


class Repl:
    """The raw REPL with its paste mode, as boards have it."""

    def __init__(self, watchdog_ms):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._bites_ms = None
        if watchdog_ms:
            self._bites_ms = time.ticks_add(time.ticks_ms(), watchdog_ms)
        self._names = {"__name__": "__main__"}

    def _say(self, data):
        self._out.write(data)

    def _read(self):
        while not self._poll.poll(50):
            if self._bites_ms is not None and time.ticks_diff(self._bites_ms, time.ticks_ms()) < 0:
                raise SystemExit(RESET)
        data = self._in.read(1)
        if not data:
            raise SystemExit(0)
        return data

    def run(self):
        raw = False
        code = bytearray()
        while True:
            data = self._read()
            if data == b"\x01":
                raw = True
                code = bytearray()
                self._say(b"raw REPL; CTRL-B to exit\r\n>")
            elif data in b"\x02\x03":
                raw = raw and data != b"\x02"
                code = bytearray()
            elif data == b"\x05" and raw and not code:
                self._read(), self._read()
                self._paste()
            elif data == b"\x04" and raw:
                if code:
                    self._say(b"OK")
                    self._execute(bytes(code))
                else:
                    self._restart()
                code = bytearray()
            elif raw:
                code.extend(data)

    def _paste(self):
        """Code in windows: each is asked for."""
        self._say(b"R\x01" + bytes((WINDOW_BYTES, 0)))
        code = bytearray()
        while True:
            data = self._read()
            if data == b"\x04":
                break
            code.extend(data)
            if len(code) % WINDOW_BYTES == 0:
                self._say(b"\x01")
        self._say(b"\x04")
        self._execute(bytes(code))

    def _restart(self):
        """A soft reset: modules and names of the code are forgotten, the watchdog is not."""
        self._names = {"__name__": "__main__"}
        for name in list(sys.modules):
            if name == "loader" or name.split(".")[0] in ("firmware", "common", "cells"):
                del sys.modules[name]
        self._say(b"OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")

    def _execute(self, code):
        wrong = b""
        try:
            exec(code, self._names)
        except (SystemExit, PowerCutError):
            raise
        except BaseException as error:
            text = io.StringIO()
            sys.print_exception(error, text)
            wrong = text.getvalue().encode()
        self._say(b"\x04" + wrong + b"\x04>")


def main():
    about = json.loads(sys.argv[2])
    mount(sys.argv[1], about.get("n_blocks", 256), about.get("cut_at"))
    os.chdir("/flash")
    sys.path[:] = ["", ".frozen"]
    there = os.listdir()
    runs = "main.py" in there and "settings.json" in there
    sys.modules["machine"] = Machine(about.get("unique_id", "e66118604b1f2a33"))
    sys.modules["sys"] = System(about)
    Repl(about.get("watchdog_ms", 3000) if runs else 0).run()


if __name__ == "__main__":
    main()
