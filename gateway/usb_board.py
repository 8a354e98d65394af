"""A board with MicroPython on a serial port: its files, written so that a cut harms nothing.

It is spoken to at its raw REPL, through mpremote's ``SerialTransport``. mpremote's command line
would be a process and a soft reset for every step, and tells a program neither progress nor what
went wrong but in text. Its Python API is not promised to stay, so no more of it is used than
connecting and executing, and the version is pinned.

A firmware that runs has a watchdog that nothing stops. ``hold`` therefore takes ``main.py`` away
before anything takes long, and restarts the board; ``leave`` brings it back. While it is away the
board starts nothing, and its measuring chip keeps the switches open.

    with on_usb("/dev/ttyACM0") as board:
        board.hold()
        board.put("image.0", data)
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from gateway.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELD = "main.held"
OLDEST = (1, 25)  # of MicroPython
FULL = "its flash is full (remove what is not Echelon's: mpremote fs ls shows what is there)"

_CHUNK_BYTES = 1024
_ANSWER_S = 10.0
_LONG_S = 60.0  # for digests of two images
_RESTART_S = 20.0
_TRIES = 3
_QUIET_S = 1.0  # after a reset, until USB may be looked at

# What stands ready on the board. Paths are relative: to "/", on STM32 to "/flash".
_HELPERS = """
import binascii, hashlib, json, os, sys
def say(x): print(json.dumps(x))
def size(p):
 try: return os.stat(p)[6]
 except OSError: return -1
def sha(p):
 h = hashlib.sha256()
 with open(p, "rb") as f:
  while 1:
   d = f.read(1024)
   if not d: break
   h.update(d)
 return binascii.hexlify(h.digest()).decode()
def sync():
 if hasattr(os, "sync"): os.sync()
"""
_ABOUT = """
try:
 import machine
 uid = binascii.hexlify(machine.unique_id()).decode()
except Exception: uid = None
say([sys.implementation.name, list(sys.implementation.version[:3]), sys.platform,
 getattr(sys.implementation, "_mpy", 0), os.getcwd(), uid])
"""


class FullError(UserError):
    """The board's file system takes no more."""


class UsbBoard:
    """A connected board. ``UserError`` says what is wrong with it, in one line."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._transport: Any = None
        self._connect(_TRIES)
        about = self.run(_ABOUT)
        self.interpreter = str(about[0])
        self.version: tuple[int, ...] = tuple(about[1])
        self.platform = str(about[2])  # like rp2, esp32, pyboard
        self.mpy = int(about[3])  # ``sys.implementation._mpy``
        self.root = str(about[4]).rstrip("/")  # "" where it is "/"
        self.unique_id: str | None = about[5]

    def error(self, text: str) -> UserError:
        """A mistake that names the board."""
        return UserError(f"echelon: {self.device}: {text}")

    def check_interpreter(self) -> None:
        """``UserError`` when the board does not run a MicroPython that will do."""
        shown = ".".join(str(part) for part in self.version)
        if self.interpreter != "micropython" or self.version[:2] < OLDEST:
            raise self.error(
                f"it runs {self.interpreter} {shown} (install MicroPython 1.25 or newer on it)"
            )

    # --- talking --------------------------------------------------------------------------

    def _connect(self, tries: int) -> None:
        """Stop what runs, and be at a fresh raw REPL."""
        self.close()
        if not Path(self.device).exists() and "://" not in self.device:
            raise self.error("no such port (plug the board in; mpremote devs lists the ports)")
        for left in reversed(range(tries)):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # mpremote shows what it read
                    self._transport = SerialTransport(self.device, timeout=_ANSWER_S)
                    self._transport.serial.write_timeout = _ANSWER_S
                    self._transport.enter_raw_repl(timeout_overall=_ANSWER_S / 2)
                    self._transport.exec(_HELPERS)
            except (TransportError, OSError) as error:
                opened = self._transport is not None
                self.close()
                if not opened:
                    raise self.error(
                        "cannot be opened (does another program have it, or only root?)"
                    ) from error
                if not left:
                    raise self.error(
                        "no MicroPython answers there (install 1.25 or newer; press its reset)"
                    ) from error
            else:
                return

    def run(self, code: str, *, long: bool = False) -> Any:
        """Execute ``code``, which ``say``s one thing: that; ``None`` when it says nothing.

        ``long``: it reads or writes flash by the hundred kB.
        """
        timeout_s = _LONG_S if long else _ANSWER_S
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                out, wrong = self._transport.exec_raw(code, timeout=timeout_s)
        except (TransportError, OSError) as error:
            raise self._lost() from error
        if wrong:
            text = wrong.decode("utf-8", "replace").strip().split("\n")[-1]
            if re.search(r"^OSError: (28|\[Errno 28\].*)$", text):
                raise FullError(f"echelon: {self.device}: {FULL}")
            raise self.error(f"the board says: {text}")
        lines = out.decode("utf-8", "replace").split()
        try:
            return json.loads(out.decode().strip().split("\n")[-1]) if lines else None
        except ValueError as error:
            raise self._lost() from error

    def _lost(self) -> UserError:
        return self.error(
            "the board does not answer any more (plug it in again and repeat the command: until "
            "then it may start nothing)"
        )

    def restart(self) -> None:
        """Reset the board and be at its raw REPL again."""
        self._reset()
        deadline_s = time.monotonic() + _RESTART_S
        while True:
            try:
                self._connect(1)
            except UserError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_QUIET_S)
            else:
                return

    def _reset(self) -> None:
        with contextlib.suppress(TransportError, OSError):
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self.close()
        time.sleep(_QUIET_S)

    def close(self) -> None:
        """Let go of the port."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            with contextlib.suppress(TransportError, OSError):
                transport.close()

    # --- main.py --------------------------------------------------------------------------

    def hold(self) -> None:
        """Let nothing run on the board, and no watchdog, until ``leave``."""
        if self.size("main.py") >= 0:
            self.run(f"os.rename('main.py', {HELD!r})\nsync()")
            self.restart()

    def leave(self) -> None:
        """Bring ``main.py`` back and let the board start."""
        self._connect(1)  # wherever it was left
        if self.size("main.py") < 0 and self.size(HELD) >= 0:
            self.run(f"os.rename({HELD!r}, 'main.py')\nsync()")
        if self.size("main.py") >= 0:
            self._reset()
        self.close()

    # --- files ----------------------------------------------------------------------------

    def size(self, name: str) -> int:
        """Bytes of a file; -1 when there is none."""
        return int(self.run(f"say(size({name!r}))"))

    def names(self, folder: str = "") -> list[str]:
        """What is in a folder, the board's root if none is named; nothing when it is not there."""
        if folder and self.size(folder) < 0:
            return []
        return list(self.run(f"say(os.listdir({folder!r}))" if folder else "say(os.listdir())"))

    def free_bytes(self) -> int:
        """What the file system can still take."""
        return int(self.run("s = os.statvfs(os.getcwd())\nsay(s[0] * s[3])"))

    def digest(self, name: str) -> bytes:
        """SHA-256 of a file, read back from the flash."""
        return bytes.fromhex(self.run(f"say(sha({name!r}))", long=True))

    def read(self, name: str, most: int = 4096) -> bytes | None:
        """The first ``most`` bytes of a file; ``None`` when there is none."""
        if self.size(name) < 0:
            return None
        code = f"with open({name!r}, 'rb') as f: say(binascii.hexlify(f.read({most})).decode())"
        return bytes.fromhex(self.run(code))

    def remove(self, *names: str) -> None:
        """Remove those of the files that are there."""
        for name in names:
            self.run(f"if size({name!r}) >= 0: os.remove({name!r})")
        self.run("sync()")

    def has(self, name: str, data: bytes) -> bool:
        """Whether a file is there and has just this in it."""
        return self.size(name) == len(data) and self.digest(name) == hashlib.sha256(data).digest()

    def put(
        self, name: str, data: bytes, progress: Callable[[int], None] = lambda _done: None
    ) -> None:
        """Write a file so that it is there whole or as it was; not at all where it is already."""
        if not self.has(name, data):
            self.stage(name, data, progress)
            self.commit(name)

    def stage(
        self, name: str, data: bytes, progress: Callable[[int], None] = lambda _done: None
    ) -> str:
        """Write it beside, under the name that is returned, and compare what the flash has."""
        beside = staged(name)
        folder = name.rpartition("/")[0]
        if folder and self.size(folder) < 0:
            self.run(f"os.mkdir({folder!r})")
        try:
            self.run(f"f = open({beside!r}, 'wb')")
            for at in range(0, len(data), _CHUNK_BYTES):
                text = base64.b64encode(data[at : at + _CHUNK_BYTES]).decode()
                self.run(f"n = f.write(binascii.a2b_base64('{text}'))")
                progress(min(at + _CHUNK_BYTES, len(data)))
            self.run("f.close()\nsync()", long=True)
        except FullError:
            self.run(f"try: f.close()\nexcept OSError: pass\nos.remove({beside!r})")
            raise
        if self.digest(beside) != hashlib.sha256(data).digest():
            raise self.error(f"{name} reads back otherwise than it was written: bad flash?")
        return beside

    def commit(self, name: str) -> None:
        """Give what was staged its name, in one step."""
        self.run(f"os.rename({staged(name)!r}, {name!r})\nsync()")


def staged(name: str) -> str:
    """What a file is called until it is whole: like image.tmp for image.0."""
    return name.rpartition(".")[0] + ".tmp"


@contextlib.contextmanager
def on_usb(device: str) -> Iterator[UsbBoard]:
    """The board at ``device``; afterwards it starts what it has, whatever went wrong."""
    board = UsbBoard(device)
    try:
        yield board
    except BaseException:
        with contextlib.suppress(UserError):
            board.leave()
        raise
    else:
        board.leave()
    finally:
        board.close()
