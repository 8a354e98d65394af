"""A board that takes images, without the hardware: its files, and its ``Update``."""

import io
import os
import types
from pathlib import Path

from fleet_key import fleet_key

from common import models
from common.registers import RegisterMap
from firmware import loader
from firmware.update import Update
from gateway.update_image import pack, public_bytes

CHUNK = 240
ADDRESS, VALUE, FAILURE, BUSY = -2, -3, -4, -6
KEY = fleet_key()


def image(version=(0, 2, 0), size=4000, key=KEY, interpreter=0, **header):
    """An image with ``size`` bytes in its largest file."""
    files = {"common/__init__.mpy": b"c", "firmware/app.mpy": b"\x5a" * size}
    return pack(files, version, interpreter, key, **header)


def started(slot):
    """The loader, as it is when it has started the image ``slot``."""
    return types.SimpleNamespace(**{**vars(loader), "slot": slot})


class Board:
    """A board's files, and its ``Update``."""

    def __init__(self, root, key, old):
        self.root = root
        (root / "image.0").write_bytes(old)
        (root / "update.key").write_text(public_bytes(key).hex() + "\n")
        self.block = RegisterMap(3).block(models.UPDATE)
        self.boot()

    def cut(self):
        """Lose what was not synced, as when the power fails, and start again."""
        self.update._close()
        if self.update._synced:
            os.truncate(self.root / "image.1", self.update._synced)
        self.boot()

    def boot(self):
        self.slot = loader.choose(str(self.root))
        self.update = Update(self.block, str(self.root), "unix", "bq76952", started(self.slot))

    def get(self, name):
        return self.block.get(name)

    def send(self, image, start=0, end=None):
        """Send pieces; the first answer that is neither 0 nor busy, or 0."""
        at = start
        end = len(image) if end is None else end
        while at < end:
            limit = loader.FIRST_BYTES if at < loader.FIRST_BYTES else end
            n = min(CHUNK, limit - at)
            answer = self.update.receive(at, image, at, n)
            if answer == BUSY:
                self.update.step(1000, 0)
            elif answer:
                return answer
            else:
                at += n
        return 0

    def settle(self):
        """Let it work until it has nothing to do."""
        for _ in range(1000):
            if not self.update.busy:
                return
            self.update.step(1000, 0)
        raise AssertionError("it is never done")

    def try_it(self):
        assert self.update.start()
        self.update.step(1000, 0)
        assert self.update.restart
        self.boot()

    def say(self):
        return self.get("UpSt"), self.get("UpRes")


def on_trial(board, new):
    """Send ``new`` and start it."""
    board.send(new)
    board.settle()
    board.try_it()


def full(*_arguments):
    """What a file system without room does."""
    raise OSError(28, "full")


def reads(monkeypatch, module):
    """A list of how much ``module`` reads at once from now on, in bytes; ``None``: all."""
    sizes = []

    class Counted(io.BufferedReader):
        def read(self, size=None):
            sizes.append(size)
            return super().read(size)

    def look(path, mode):
        return Counted(io.FileIO(path)) if mode == "rb" else Path(path).open(mode)

    monkeypatch.setattr(module, "open", look, raising=False)
    return sizes
