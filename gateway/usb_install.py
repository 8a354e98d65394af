"""Installs an image of the firmware on a board on USB, so that a cut at any moment harms nothing.

Every file is written beside, read back, and gets its name in one step; ``main.py``, without which
the board starts nothing, comes last. On a board that has a firmware already the image goes into
the slot that does not run, and the one that runs stays: the boot record (written by the board's
``loader.py``) then has the new one tried, as after an update over Modbus. Settings, keys and
records are not touched.

    port = check(board, plan)
    said = install(board, plan, port, trial=True, progress=print)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.board_parts import loader_source
from gateway.update_image import (
    INTERPRETERS,
    SIGNATURE_BYTES,
    ImageFile,
    is_signed,
)
from gateway.usb_board import HELD, staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.usb_board import UsbBoard

# MicroPython's ``sys.platform`` and the file in firmware/boards
PORTS = {"rp2": "rp2", "esp32": "esp32", "pyboard": "stm32"}
NO_SLOT = 255
SPARE_BYTES = 16384  # the file system's own, records, and what is written beside

_STATE = """
import loader
r = loader.Record({root!r})
found = []
for n in (0, 1):
 p = loader.image_path({root!r}, n)
 d = None
 if loader.is_whole(p):
  with open(p, "rb") as f: d = binascii.hexlify(loader.read_header(f.read(128))[10]).decode()
 found.append(d)
say([r.sequence, r.active, r.trial, r.lowest, found])
"""
_START = """
import loader
r = loader.Record({root!r})
r.active, r.trial, r.started, r.result = {active}, {trial}, 0, 0
r.save()
"""
# The firmware of an image, or the one that lies beside, judges a file of settings.
_JUDGE = """
import loader
image = loader.Image({path!r})
os.mount(image, "/judge.image")
sys.path.insert(0, "/judge.image")
"""
_JUDGE_WITH = """
try:
 from firmware.settings import load
 s = load({settings!r})
 answer = [s.serial, s.afe, s.config_crc, ""]
except ImportError: answer = None
except Exception as e: answer = ["", "", 0, str(e)]
"""
_JUDGED = """
sys.path.pop(0)
os.umount("/judge.image")
"""


@dataclass(frozen=True)
class Slots:
    """What the boot record and the images of a board say."""

    sequence: int  # 0: there is no record
    active: int
    trial: int
    lowest: int  # version, as ``firmware.loader.version_number``
    digests: tuple[bytes | None, bytes | None]  # None: no image, or not a whole one

    @property
    def running(self) -> int | None:
        """The image that the loader would start if none were on trial."""
        for n in (self.active, 1 - self.active):
            if self.digests[n] is not None:
                return n
        return None


NOTHING = Slots(0, 0, NO_SLOT, 0, (None, None))


@dataclass(frozen=True)
class Judged:
    """What the firmware on a board makes of a file of settings."""

    serial: str
    afe: str
    config_crc: int
    fault: str  # "": none


@dataclass(frozen=True)
class Plan:
    """What is to be installed. ``port``: the board it must be, or ``None`` for any we know."""

    image: bytes
    about: ImageFile
    port: str | None
    key: bytes | None  # the fleet's update.key


def read_slots(board: UsbBoard) -> Slots:
    """The state of a board that has a loader."""
    sequence, active, trial, lowest, found = board.run(_STATE.format(root=board.root), long=True)
    first, second = (None if text is None else bytes.fromhex(text) for text in found)
    return Slots(sequence, active, trial, lowest, (first, second))


def judge_settings(board: UsbBoard, slot: int | None, settings: str) -> Judged | None:
    """What the firmware of an image (``None``: what lies beside) says of the file ``settings``.

    ``None`` when there is no firmware.
    """
    code = _JUDGE_WITH.format(settings=settings)
    if slot is not None:
        path = f"{board.root}/image.{slot}"
        code = _JUDGE.format(path=path) + code + _JUDGED
    answer = board.run(code + "\nsay(answer)", long=True)
    return None if answer is None else Judged(*answer)


def port_of(board: UsbBoard) -> str:
    """The file in firmware/boards that is for this board; ``UserError`` when there is none."""
    if board.platform not in PORTS:
        raise board.error(
            f"there is no board file for MicroPython's port {board.platform} (known: "
            f"{', '.join(PORTS.values())}; docs/board.md tells how to port)"
        )
    port = PORTS[board.platform]
    if port == "stm32" and board.root != "/flash":
        raise board.error(f"it starts from {board.root}: take its SD card out")
    return port


def check(board: UsbBoard, plan: Plan) -> str:
    """Whether the image may be put onto the board at all; its port. ``UserError``: it may not."""
    board.check_interpreter()
    port = port_of(board)
    about = plan.about
    if plan.port not in (None, port):
        raise board.error(f"it is a {port}, not a {plan.port} (another PORT, or --board {port})")
    if about.board not in ("", port):
        raise board.error(f"the image is for {about.board}, the board is a {port}")
    if about.interpreter not in (0, board.mpy):
        names = {number: name for name, number in INTERPRETERS.items()}
        is_for, has = (
            names.get(number, f"{number:#06x}") for number in (about.interpreter, board.mpy)
        )
        raise board.error(
            f"the image is compiled for {is_for}, the board's interpreter takes {has} (echelon "
            f"image make build/firmware/{has}/... --for {has}; .mpy format 6.3)"
        )
    if not starts_by_loader(board, "main.py") or not starts_by_loader(board, HELD):
        raise board.error(
            "main.py on it does not start by the loader: whose is it? (take it away with mpremote "
            "fs rm :main.py and press reset)"
        )
    check_key(board, plan)
    return port


def starts_by_loader(board: UsbBoard, name: str) -> bool:
    """Whether a file that starts the board does so by the loader, or is not there."""
    text = board.read(name)
    return (
        text is None or re.search(rb"^\s*(import|from) loader\b", text, re.MULTILINE) is not None
    )


def check_key(board: UsbBoard, plan: Plan) -> None:
    """``UserError`` when the board belongs to another fleet than image or key."""
    found = board.read("update.key")
    if found is None:
        return
    if len(found) != SIGNATURE_BYTES:
        try:
            found = bytes.fromhex(found.decode())
        except ValueError:
            found = b""
    if plan.key is not None and found != plan.key:
        raise board.error(
            "its update.key is another fleet's (if the board changes hands: mpremote fs rm "
            ":update.key)"
        )
    if len(found) != SIGNATURE_BYTES or not is_signed(plan.image, found):
        raise board.error("the image is not signed with the key of its fleet, its update.key")


def install(
    board: UsbBoard, plan: Plan, port: str, *, trial: bool, progress: Callable[[int], None]
) -> str:
    """Install what ``check`` found good; what became of it. ``trial``: see the module."""
    board.hold()
    board.remove(*(staged(name) for name in ("image.0", "loader.py", "main.py", "update.key")))
    slots = read_slots(board) if board.size("loader.py") >= 0 else NOTHING
    _check_version(board, plan, slots)
    running = slots.running
    target = 0 if running is None else 1 - running
    there = plan.about.sha256 in slots.digests
    if there:
        target = slots.digests.index(plan.about.sha256)
    else:
        _check_space(board, plan, target)
    board.put("loader.py", loader_source())
    if not there:
        _write_image(board, plan, slots, target, progress)
    said = "runs it already"
    if target != running or slots.trial != NO_SLOT:
        provisioned = board.size("settings.json") >= 0
        if provisioned:
            _check_settings(board, plan, target)
        on_trial = trial and provisioned and running is not None and target != running
        said = _enter(board, slots, target, on_trial=on_trial)
    if plan.key is not None and board.size("update.key") < 0:
        board.put("update.key", plan.key.hex().encode() + b"\n")
    if board.size(HELD) < 0:
        board.put("main.py", main_text(port, board.root))
    return said


def _check_version(board: UsbBoard, plan: Plan, slots: Slots) -> None:
    if version_number(plan.about) < slots.lowest:
        lowest = f"{slots.lowest >> 24}.{slots.lowest >> 16 & 255}.{slots.lowest & 0xFFFF}"
        raise board.error(
            f"{lowest} was healthy on it, and {plan.about.version_text} is older (take a newer "
            "one)"
        )


def _check_space(board: UsbBoard, plan: Plan, target: int) -> None:
    free = board.free_bytes() + max(board.size(f"image.{target}"), 0)
    if free < len(plan.image) + SPARE_BYTES:
        raise board.error(
            f"{free / 1000:.0f} kB are free, the image takes {len(plan.image) / 1000:.0f} kB and "
            f"{SPARE_BYTES / 1000:.0f} beside (fewer cell profiles: echelon image make --cells)"
        )


def version_number(about: ImageFile) -> int:
    """As ``firmware.loader.version_number`` has it."""
    major, minor, patch = about.version
    return (major << 8 | minor) << 16 | patch


def main_text(port: str, root: str) -> bytes:
    """``main.py`` of a board."""
    place = f', "{root}"' if root else ""
    return f'import loader\n\nloader.start("firmware.boards.{port}"{place})\n'.encode()


def _write_image(
    board: UsbBoard, plan: Plan, slots: Slots, target: int, progress: Callable[[int], None]
) -> None:
    """Put the image into the slot ``target``, whose former one goes first."""
    if slots.trial != NO_SLOT:  # an update over Modbus, of which the image goes now
        _record(board, slots.active if slots.running is None else slots.running, NO_SLOT)
    name = f"image.{target}"
    board.remove(name)
    board.stage(name, plan.image, progress)
    board.commit(name)


def _check_settings(board: UsbBoard, plan: Plan, target: int) -> None:
    """``UserError`` when the new firmware does not take the board's settings."""
    judged = judge_settings(board, target, "settings.json")
    if judged is None:
        raise board.error("there is no firmware in the image (echelon image show)")
    if judged.fault:
        raise board.error(f"the image was not started, for it refuses {judged.fault}")
    if plan.about.afe not in ("", judged.afe):
        raise board.error(
            f"the image was not started: it is for {plan.about.afe}, and the board's settings "
            f"say {judged.afe}"
        )


def _enter(board: UsbBoard, slots: Slots, target: int, *, on_trial: bool) -> str:
    """Have the image in ``target`` started; what is to be said."""
    if on_trial:
        _record(board, 1 - target, target)
        return (
            f"installed as image.{target}, on trial: it must be spoken to over Modbus within ten "
            "minutes, else the former one is taken back (--no-trial: for good)"
        )
    if slots.sequence or target:
        _record(board, target, NO_SLOT)
    return f"installed as image.{target}"


def _record(board: UsbBoard, active: int, trial: int) -> None:
    board.run(_START.format(root=board.root, active=active, trial=trial))


def firmware_digest(slots: Slots) -> str | None:
    """SHA-256 of the image that would be started, in hex."""
    digest = None if slots.running is None else slots.digests[slots.running]
    return None if digest is None else digest.hex()
