r"""What starts first on a board that is updated over Modbus: it chooses between two images.

An image is one file, made by ``echelon image``: all of the firmware, with its SHA-256 (the format
is below). A board has two, ``image.0`` and ``image.1``; the loader mounts one of them, read-only,
and starts the firmware in it. This file lies on the board as ``loader.py`` and is not in an image:
an update never changes it, so it imports nothing of ours, and what it writes, and what
``firmware.update`` uses of it, stays as it is.

    # main.py
    import loader
    loader.start("firmware.boards.rp2")

Which image that is stands in the boot record. After an update the new one is on trial:

1. before its first start that is written down; an image that does not match its SHA-256 is not
   started;
2. the firmware says that it is healthy (``firmware.update``), and the image is no more on trial;
3. when the board starts again before that, whatever the cause, the former image is taken back.

When the image of the record does not match its SHA-256 the other one is taken; when neither does,
what lies on the board outside of images, if there is something.

    image:  header, signature, table, data
    header: 128 bytes, little-endian: magic "ECHELON1", version u8, flags u8, interpreter u16
            (``sys.implementation._mpy``; 0: source, for any), major u8, minor u8, patch u16,
            entries in the table u16, bytes of the table u16, bytes of table and data u32,
            SHA-256 of table and data, AFE and board (16 bytes each, padded with 0; empty: any), 0
    signature: 384 bytes, of the header (``firmware.rsa``)
    table:  a line for each file: "\nNAME OFFSET SIZE", hexadecimal, 6 digits each, and "\n";
            offsets count from the end of the table

    boot record, in two files written in turn, loader.0 and loader.1: magic "ECHB", version u8,
            sequence u32, active u8, on trial u8 (255: none), started u8, result u8, lowest version
            (major u8, minor u8, patch u16), SHA-256 of all before (the first 8 bytes)
"""

import hashlib
import io
import os
import struct
import sys

MAGIC = b"ECHELON1"
HEADER = "<8sBBHBBHHHL32s16s16s"
HEADER_BYTES = 128
FIRST_BYTES = 512  # with the signature
NONE = 255

# What became of the last update, as ``codes.UpdateResult`` has it.
RESULT_NONE = 0
RESULT_NOT_HEALTHY = 2
RESULT_DAMAGED = 3

_RECORD = "<4sBLBBBBL"
_RECORD_MAGIC = b"ECHB"
_RECORD_CHECK = 8
_BLOCK_BYTES = 1024
_WATCHDOG_MS = 8000
_MOUNT = "/firmware.image"

slot = NONE  # whose image runs; NONE: the files beside
_watchdog = None


class Record:
    """The boot record in the folder ``root``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.sequence = 0
        self.active = 0
        self.trial = NONE
        self.started = 0
        self.result = RESULT_NONE
        self.lowest = 0  # no older version is taken; see ``version_number``
        for n in (0, 1):
            self._load(n)

    def _load(self, n: int) -> None:
        try:
            with open(self._path(n), "rb") as file:
                data = file.read(64)
        except OSError:
            return
        size = struct.calcsize(_RECORD)
        if len(data) != size + _RECORD_CHECK or _digest(data[:size]) != data[size:]:
            return
        record = struct.unpack(_RECORD, data[:size])
        if record[0] == _RECORD_MAGIC and record[1] == 1 and record[2] > self.sequence:
            _, _, self.sequence, self.active, self.trial, self.started = record[:6]
            self.result, self.lowest = record[6:]

    def save(self) -> None:
        """Write it, over the older of the two; ``OSError``: it is what it was."""
        data = struct.pack(
            _RECORD, _RECORD_MAGIC, 1, self.sequence + 1, self.active, self.trial, self.started,
            self.result, self.lowest,
        )  # fmt: skip
        with open(self._path((self.sequence + 1) % 2), "wb") as file:
            file.write(data + _digest(data))
        if hasattr(os, "sync"):
            os.sync()
        self.sequence += 1

    def _path(self, n: int) -> str:
        return "%s/loader.%d" % (self.root, n)


def _digest(data: bytes) -> bytes:
    check: bytes = hashlib.sha256(data).digest()[:_RECORD_CHECK]
    return check


def image_path(root: str, n: int) -> str:
    """The file of image ``n``, 0 or 1."""
    return "%s/image.%d" % (root, n)


def read_header(data: bytes) -> "tuple | None":  # type: ignore[type-arg]
    """The fields of ``HEADER``; ``None`` when ``data`` does not begin with one."""
    if len(data) < HEADER_BYTES:
        return None
    header = struct.unpack_from(HEADER, data, 0)
    if header[0] != MAGIC or header[1] != 1 or header[8] > header[9]:
        return None
    return header


def version_number(header: "tuple") -> int:  # type: ignore[type-arg]
    """An image's version as a number that grows with it."""
    number: int = (header[4] << 8 | header[5]) << 16 | header[6]
    return number


def is_whole(path: str) -> bool:
    """Whether an image matches its SHA-256."""
    try:
        with open(path, "rb") as file:
            header = read_header(file.read(FIRST_BYTES))
            if header is None:
                return False
            left = header[9]
            digest = hashlib.sha256()
            while left:
                data = file.read(min(_BLOCK_BYTES, left))
                if not data:
                    return False
                digest.update(data)
                left -= len(data)
            return not file.read(1) and digest.digest() == header[10]
    except OSError:
        return False


def choose(root: str) -> int:
    """The image to be started, ``NONE`` when there is none; the record then says so too."""
    record = Record(root)
    if record.trial != NONE:
        if record.started:
            record.result = RESULT_NOT_HEALTHY
            record.trial = NONE
        elif is_whole(image_path(root, record.trial)):
            record.started = 1
        else:
            record.result = RESULT_DAMAGED
            record.trial = NONE
        try:
            record.save()
            if record.trial != NONE:
                return record.trial
        except OSError as error:  # a trial that is not written down would never end
            print("loader: boot record:", error)
    for n in (record.active, 1 - record.active):
        if is_whole(image_path(root, n)):
            return n
        print("loader: image.%d is missing or damaged" % n)
    return NONE


class Image:
    """The files in an image, as a file system for ``os.mount``."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  for as long as the board runs
        header = read_header(self._file.read(FIRST_BYTES))
        if header is None:
            self._file.close()
            raise OSError(22)
        self._table = self._file.read(header[8])
        self._data_at = FIRST_BYTES + header[8]

    def mount(self, readonly: bool, mkfs: bool) -> None:
        """Nothing is to be done."""

    def umount(self) -> None:
        """Close the image."""
        self._file.close()

    def stat(self, path: str) -> "tuple[int, ...]":
        """As ``os.stat``, of which ``import`` wants the kind."""
        name = path.strip("/").encode()
        at, size = self._find(name)
        if at < 0 and name and self._table.find(b"\n" + name + b"/") < 0:
            raise OSError(2)
        return (0x8000 if at >= 0 else 0x4000, 0, 0, 0, 0, 0, size, 0, 0, 0)

    def open(self, path: str, mode: str) -> "File":
        """One file for reading."""
        at, size = self._find(path.strip("/").encode())
        if at < 0 or "w" in mode or "a" in mode or "+" in mode:
            raise OSError(2 if at < 0 else 30)
        if _watchdog is not None:
            _watchdog.feed()
        return File(self._file, self._data_at + at, size)

    def _find(self, name: bytes) -> "tuple[int, int]":
        """Offset and size; -1 and 0 when there is no such file."""
        at = self._table.find(b"\n" + name + b" ")
        if at < 0:
            return -1, 0
        at += len(name) + 2
        return int(self._table[at : at + 6], 16), int(self._table[at + 7 : at + 13], 16)


class File(io.IOBase):
    """A part of the image's file. Several may be open; each keeps its own place."""

    def __init__(self, file: "object", at: int, size: int) -> None:
        self._file = file
        self._at = at
        self._left = size

    def readinto(self, buffer: bytearray) -> int:
        """Fill ``buffer``; how much of it, 0 at the end."""
        n = min(len(buffer), self._left)
        if not n:
            return 0
        self._file.seek(self._at)  # type: ignore[attr-defined]
        if n == len(buffer):
            n = self._file.readinto(buffer)  # type: ignore[attr-defined]
        else:
            data = self._file.read(n)  # type: ignore[attr-defined]
            n = len(data)
            buffer[:n] = data
        self._at += n
        self._left -= n
        return n

    def ioctl(self, request: int, _argument: int) -> int:
        """Closing is fine, nothing else is."""
        return 0 if request == 4 else -1


def start(board: str, root: str = "", arguments: "list[str] | None" = None) -> object:
    """Choose an image, and start the module ``board`` in it: its ``start``, what that gives.

    ``root`` is the folder of images and records, without a "/" at its end.
    """
    global slot
    slot = choose(root)
    if slot != NONE:
        on_trial = Record(root).trial == slot
        if on_trial:
            _watch()  # an image that hangs while it starts must not hang the board
        os.mount(Image(image_path(root, slot)), _MOUNT)  # type: ignore[attr-defined]
        sys.path.insert(0, _MOUNT)
    try:
        module = __import__(board, None, None, (board,))
        return module.start(arguments) if arguments is not None else module.start()
    except Exception as error:
        if slot == NONE or not on_trial:
            raise
        print("loader: image.%d: %s: %s" % (slot, type(error).__name__, error))
        _reset()
        raise


def _watch() -> None:
    global _watchdog
    machine = _machine()
    if hasattr(machine, "WDT"):
        _watchdog = machine.WDT(timeout=_WATCHDOG_MS)


def _reset() -> None:
    machine = _machine()
    if hasattr(machine, "reset"):
        machine.reset()


def _machine() -> "object | None":
    """The hardware; the desk has less of it, or none: its simulated world has a watchdog."""
    try:
        return __import__("machine")
    except ImportError:
        return None
