"""Boards that start by the loader, and images for them: compiled files, as boards have them."""

import functools
import re
import runpy
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.update_image import EXPONENT, KEY_BITS, folder_files, pack, public_bytes
from sim.firmware_process import find_micropython

ROOT = Path(__file__).parents[2]
# What the board on the desk needs beside the files of a board.
DESK = ("firmware/boards/unix.py", "firmware/modbus/tcp.py", "common/link.py")
START = """
import sys
sys.path.insert(0, {root!r})
import loader
sys.exit(loader.start("firmware.boards.unix", {root!r}, [{socket!r}, {root!r}]))
"""


def new_key():
    return rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)


class Images:
    """Images of the firmware as it is now, each with its version and some files changed."""

    def __init__(self, folder, key):
        self.key = key
        self._folder = folder
        self._size = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "firmware_size.py"))
        manifest = self._size["Manifest"](self._size["MANIFEST"])
        self._sources = manifest.image("armv7emsp", "bq76952")
        self._sources |= {name: (ROOT / name).read_text("utf-8") for name in DESK}

    @functools.cache  # noqa: B019 - as long as the tests that ask
    def _short(self, changes):
        sources = dict(self._sources)
        for name, before, after in changes:
            assert before in sources[name]
            sources[name] = sources[name].replace(before, after)
        return self._size["shorten"](self._size["lean"](sources, self._size["KEPT"]))

    def make(self, version, changes=(), key=None, cells=(), **header):
        """``changes``: (file, text in it, what stands there instead)."""
        short, names = self._short(tuple(changes))
        about = "common/__init__.py"
        text = ".".join(str(part) for part in version)
        said = re.search(r"__version__ = .*", short[about])[0]
        short = {**short, about: short[about].replace(said, f'__version__ = "{text}"')}
        self._size["compile_short"](short, names, "armv7emsp", self._folder)
        files = folder_files(self._folder, cells)
        header.setdefault("interpreter", 0)
        return pack(files, version, key=key or self.key, **header)


def install(board: Path, image: bytes, key) -> None:
    """What a maker puts onto a board: the loader, an image, the public half of the fleet's key."""
    board.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "firmware" / "loader.py", board)
    (board / "image.0").write_bytes(image)
    (board / "update.key").write_bytes(public_bytes(key))


def loader_command(socket_path, root, _spec):
    """The board, which is reset (once more) when it ends by an exception."""
    start = START.format(root=str(root), socket=str(socket_path))
    return [
        "/bin/sh", "-c", '"$0" -c "$1" || exec "$0" -c "$1"', find_micropython(), start
    ]  # fmt: skip
