"""A board on a pty: the real MicroPython with real littlefs, spoken to by the real mpremote."""

import json
import os
import pty
import shutil
import signal
import subprocess
import threading
import tty
from pathlib import Path

from sim.firmware_process import find_micropython

SCRIPT = Path(__file__).parents[1] / "tools" / "board_on_usb.py"
RESET = 3
ARMV7 = 0x1F06
MOUNTED = """
import os, sys
sys.path[:] = [{folder!r}]
from board_on_usb import mount
mount({flash!r})
os.chdir("/flash")
sys.path[:] = ["", ".frozen"]
"""
READ = """
def walk(folder):
    for entry in os.ilistdir(folder or "/flash"):
        path = folder + "/" + entry[0] if folder else entry[0]
        if entry[1] == 0x4000:
            walk(path)
        else:
            print(path, end=" ")
            with open(path, "rb") as file:
                while data := file.read(4096):
                    print(data.hex(), end="")
            print()
walk("")
"""
CHOOSE = """
if "main.py" in os.listdir():
    import loader
    print("image", loader.choose("/flash"))
"""


class BoardOnUsb:
    """A board that is plugged in: ``port`` is what the commands are given.

    ``about`` is for ``board_on_usb.py``: with ``cut_at`` its supply is cut at that write.
    """

    def __init__(self, flash, platform="rp2", mpy=ARMV7, **about):
        self.flash = Path(flash)
        self.about = {"platform": platform, "mpy": mpy, **about}
        self.resets = 0
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._off = False
        self._switch_on()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _switch_on(self):
        command = [find_micropython(), SCRIPT, self.flash, json.dumps(self.about)]
        self._child = subprocess.Popen(
            command, stdin=self._ours, stdout=self._ours, stderr=subprocess.DEVNULL
        )

    def _keep(self):
        while True:
            code = self._child.wait()
            if code != RESET or self._off:
                return
            self.resets += 1
            self._switch_on()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._off = True
        while self._keeper.is_alive():  # it may just have been reset
            self._child.send_signal(signal.SIGKILL)
            self._keeper.join(0.1)
        os.close(self._ours)
        os.close(self._theirs)


def in_micropython(flash, code):
    """What ``code`` prints with a board's flash mounted, and the folder in it."""
    code = MOUNTED.format(folder=str(SCRIPT.parent), flash=str(flash)) + code
    done = subprocess.run(
        [find_micropython(), "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def files_of(flash):
    """All files on a board's flash, by path."""
    lines = [line.split(" ") for line in in_micropython(flash, READ).splitlines()]
    return {path: bytes.fromhex(data) for path, data in lines}


def would_start(flash):
    """The image that the board would start, byte by byte; ``None`` when it starts nothing."""
    copy = flash.with_suffix(".copy")
    shutil.copy(flash, copy)
    for line in in_micropython(copy, CHOOSE).splitlines():
        if line.startswith("image "):
            return files_of(copy)[f"image.{line.split()[1]}"]
    return None


def no_waiting(monkeypatch):
    """Boards on a pty are back at once after a reset, and silent ones stay silent."""
    monkeypatch.setattr("gateway.usb_board._QUIET_S", 0.05)
    monkeypatch.setattr("gateway.usb_board._ANSWER_S", 2.0)
    monkeypatch.setattr("gateway.usb_board._LONG_S", 5.0)
