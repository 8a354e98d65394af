"""An update over Modbus: the other image is received, checked, tried, and kept when healthy.

``receive`` only takes bytes; ``step`` does the rest, a little at a time, between measurements, so
that the pack is protected as ever. The image goes into the slot that does not run
(``firmware.loader``), and from ``RECEIVING`` on what was there before is gone.

    header received -> its rules and signature -> received -> again, and SHA-256 -> READY
    Command.START_UPDATE, switches open -> restart -> TRIAL -> healthy: kept; else: taken back

A part that was received and synced survives a restart, and the sender goes on from ``Have``. It
is not trusted for that: nothing is started but what was checked as a whole, from the flash.

Refused is an image that was not signed with the fleet's key (``update.key`` in the board's root:
384 bytes, or as many in hex digits), is for another interpreter, board or front end, or is older
than any that was healthy here. Healthy is a pack that has measured for ``_HEALTHY_S`` without a
failed task, and was spoken to over Modbus: who cannot be reached cannot be mended.

``loader`` is the board's own copy of ``firmware.loader``, which has started this; ``None`` where
none has. It may be older than this file, so no more is asked of it than it always had.

    >>> update = Update(block, root, "rp2", "bq76952", sys.modules.get("loader"))
    >>> update.receive(0, request, 10, 240)
    0
    >>> update.step(free_ms, 0)
"""

import binascii
import hashlib
import os
import sys

from common.mp import const
from common.registers import Block
from firmware.rsa import KEY_BYTES, Check
from firmware.snapshot import Snapshot

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from typing import Any

_HEADER_BYTES = const(128)  # of an image: the header, with the digest; and the signature
_DIGEST_AT = const(24)
_FIRST_BYTES = const(512)
_NO_SLOT = const(255)

_BUFFER_BYTES = const(1024)
_WRITE_BYTES = const(512)  # so much at once, or the rest
_SYNC_BYTES = const(8192)
_READ_BYTES = const(1024)
_WRITE_MS = const(120)  # a write may take so long: not when the next measurement is nearer
_HEALTHY_S = const(60)
_TRIAL_S = const(600)

# Numbers of ``common.update_codes``, whose names a board need not carry.
_UNSUPPORTED = const(1)  # UpdateState
_IDLE = const(2)
_RECEIVING = const(3)
_CHECKING = const(4)
_READY = const(5)
_TRIAL = const(6)
_NONE = const(0)  # UpdateResult
_DONE = const(1)
_DAMAGED = const(3)
_REFUSED_FORMAT = const(4)
_REFUSED_SIGNATURE = const(5)
_REFUSED_VERSION = const(6)
_REFUSED_BOARD = const(7)
_STORAGE = const(8)
_ABANDONED = const(9)

_ILLEGAL_ADDRESS = const(-2)  # Modbus exceptions
_ILLEGAL_VALUE = const(-3)
_DEVICE_FAILURE = const(-4)
_BUSY = const(-6)


class Update:
    """The UPDATE model of a board, and the image it receives."""

    def __init__(self, block: Block, root: str, board: str, afe: str, loader: "Any") -> None:
        self.have = 0  # bytes received, the first not synced included
        self.restart = False  # the board is to start anew
        self._block = block
        self._root = root
        self._names = (afe.encode(), board.encode())
        self._loader = loader
        self._slot: int = _NO_SLOT if loader is None else self._loader.slot
        self._size = 0  # of the image being received; 0 until its header is accepted
        self._head = self._buffer = bytearray(0)  # memory is taken while an image is received
        self._filled = 0
        self._file: "Any" = None
        self._synced = 0
        self._check: "Check | None" = None
        self._digest: "Any" = None
        self._digested = 0
        self._start = self._abandon = False
        self._state = _UNSUPPORTED
        self._result = _NONE
        if self._slot != _NO_SLOT:
            self._record = self._loader.Record(root)
            self._result = self._record.result
            self._path = self._loader.image_path(root, 1 - self._slot)
            if self._record.trial == self._slot:
                self._state = _TRIAL
            elif self._key() is not None:
                self._state = _IDLE
                self._find_part()
            self._tell_digest("Run1", self._loader.image_path(root, self._slot))
        self._tell()

    @property
    def busy(self) -> bool:
        """Whether ``step`` has something to do soon."""
        return self._state in (_RECEIVING, _CHECKING)

    def receive(self, offset: int, data: "bytearray | memoryview", at: int, n_bytes: int) -> int:
        """Take ``data[at:at + n_bytes]``, of the image from ``offset`` on; 0 or an exception.

        Busy: try again soon. Illegal address: go on from ``Have``. What was received before is
        taken for the same.
        """
        if self._state in (_UNSUPPORTED, _TRIAL):
            return _DEVICE_FAILURE
        if self._state == _CHECKING or self._abandon:
            return _BUSY
        end = offset + n_bytes
        if self._state == _IDLE and offset == 0:
            self._begin()
        if end <= self.have:
            if self._state == _IDLE and end == self._size:
                self._begin_check()
            return 0
        if offset != self.have:
            return _ILLEGAL_ADDRESS
        limit = self._size or _FIRST_BYTES
        if end > limit:
            return _ILLEGAL_VALUE
        if not self._size:
            target = self._head
            place = offset
        elif self._filled + n_bytes > _BUFFER_BYTES:
            return _BUSY
        else:
            if not self._buffer:
                self._buffer = bytearray(_BUFFER_BYTES)
            target = self._buffer
            place = self._filled
            self._filled += n_bytes
        for i in range(n_bytes):
            target[place + i] = data[at + i]
        self.have = end
        if not self._size and end == _FIRST_BYTES:
            self._state = _CHECKING
        self._tell()
        return 0

    def start(self) -> bool:
        """Let the checked image be started soon; whether there is one."""
        self._start = self._state == _READY
        return self._start

    def abandon(self) -> bool:
        """Let what was received be forgotten soon; whether that can be."""
        self._abandon = self._state not in (_UNSUPPORTED, _TRIAL)
        return self._abandon

    def step(self, free_ms: int, healthy_s: int) -> None:
        """Go on. ``free_ms``: until the next measurement; ``healthy_s``: as long all was well."""
        if self._state == _TRIAL:
            self._follow(healthy_s)
            return
        if free_ms < _WRITE_MS:
            return
        try:
            if self._abandon:
                self._end(_ABANDONED)
            elif self._start:
                self._try()
            elif self._state == _RECEIVING:
                self._write()
            elif self._state == _CHECKING:
                self._go_on_checking()
            else:
                return
        except OSError as error:
            print("update:", error)
            self._end(_STORAGE)
        self._tell()

    def supervise(self, snapshot: Snapshot) -> None:
        """Take an image back that was not healthy in its time; once a cycle."""
        left_s = None
        if self._state == _TRIAL:
            left_s = max(_TRIAL_S - snapshot.uptime_s, 0)
            if not left_s and not self.restart:
                print("update: not healthy in %d s" % _TRIAL_S)
                self.restart = True
        block = self._block
        block.set("Left", left_s)
        block.set("Seq", snapshot.seq or None)
        block.set("SeqEnd", snapshot.seq or None)

    # --- receiving ------------------------------------------------------------------------

    def _find_part(self) -> None:
        """Take up what was received before the restart."""
        try:
            size = os.stat(self._path)[6]
            with open(self._path, "rb") as file:
                head = file.read(_FIRST_BYTES)
        except OSError:
            return
        header = self._loader.read_header(head)
        if header is None or len(head) < _FIRST_BYTES:
            return
        self._head = bytearray(head)
        self._size = _FIRST_BYTES + header[9]
        self.have = self._synced = min(size, self._size)
        if self.have < self._size:
            self._state = _RECEIVING

    def _begin(self) -> None:
        self._head = bytearray(_FIRST_BYTES)
        self.have = self._size = 0
        self._result = _NONE
        self._state = _RECEIVING

    def _write(self) -> None:
        if not self._size:
            return
        done = self.have == self._size
        if self._filled >= _WRITE_BYTES or (done and self._filled):
            if self._file is None:
                self._file = open(self._path, "ab")  # noqa: SIM115  for several steps
            self._file.write(memoryview(self._buffer)[: self._filled])
            self._filled = 0
            if done or self.have - self._synced >= _SYNC_BYTES:
                self._close()
                self._synced = self.have
        if done and not self._filled:
            self._close()
            self._begin_check()

    def _close(self) -> None:
        """What was written is then safe."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
            if hasattr(os, "sync"):
                os.sync()

    # --- checking -------------------------------------------------------------------------

    def _begin_check(self) -> None:
        self._state = _CHECKING
        self._check = None
        self._digest = hashlib.sha256()
        self._digested = 0

    def _go_on_checking(self) -> None:
        """One step: the rules, a product of the signature, or a piece of the digest."""
        check = self._check
        if check is None:
            if self._size:  # all is in flash, and only that counts
                with open(self._path, "rb") as file:
                    self._head[:] = file.read(_FIRST_BYTES)
            refused = self._break_rules()
            if refused:
                self._end(refused)
                return
            head = bytes(self._head)
            digest = hashlib.sha256(head[:_HEADER_BYTES]).digest()
            at = _HEADER_BYTES
            self._check = Check(self._key() or b"", head[at : at + KEY_BYTES], digest)
        elif check.step():
            return
        elif not check.good:
            self._end(_REFUSED_SIGNATURE)
        elif self._size:
            self._go_on_digesting()
        else:
            self._accept()

    def _break_rules(self) -> int:
        header = self._loader.read_header(bytes(self._head))
        if header is None:
            return _REFUSED_FORMAT
        interpreter = getattr(sys.implementation, "_mpy", 0)
        if header[3] and header[3] != interpreter:
            return _REFUSED_BOARD
        for wanted, name in zip(header[11:], self._names):  # noqa: B905
            if wanted.strip(b"\x00") not in (b"", name):
                return _REFUSED_BOARD
        if self._loader.version_number(header) < self._record.lowest:
            return _REFUSED_VERSION
        return _NONE

    def _accept(self) -> None:
        """The header is in order: the other image is overwritten from now on."""
        header = self._loader.read_header(bytes(self._head))
        self._file = open(self._path, "wb")  # noqa: SIM115
        self._file.write(self._head)
        self._close()
        self._synced = self.have
        self._size = _FIRST_BYTES + header[9]
        self._state = _RECEIVING

    def _go_on_digesting(self) -> None:
        n_bytes = self._size - _FIRST_BYTES - self._digested
        if n_bytes:
            with open(self._path, "rb") as file:
                file.seek(_FIRST_BYTES + self._digested)
                data = file.read(min(n_bytes, _READ_BYTES))
            if not data:
                self._end(_DAMAGED)
                return
            self._digest.update(data)
            self._digested += len(data)
            return
        header = self._loader.read_header(bytes(self._head))
        if self._digest.digest() != header[10]:
            self._end(_DAMAGED)
            return
        self._digest = self._check = None
        self._buffer = bytearray(0)
        self._state = _READY

    def _end(self, result: int) -> None:
        """Forget what was received; a part of an image that is no good is in nobody's way.

        What is too old was there before: it may still have to serve.
        """
        overwritten = (self._size and result != _REFUSED_VERSION) or result == _ABANDONED
        file, self._file = self._file, None
        self._check = self._digest = None
        self._buffer = bytearray(0)
        self._state = _IDLE
        self._result = result
        self.have = self._size = self._filled = 0
        self._start = self._abandon = False
        try:
            if file is not None:
                file.close()
            if overwritten:
                os.remove(self._path)
        except OSError as error:
            print("update:", error)

    # --- trial ----------------------------------------------------------------------------

    def _try(self) -> None:
        record = self._record
        record.active = self._slot
        record.trial = 1 - self._slot
        record.started = 0
        record.result = _NONE
        record.save()
        self._start = False
        self.restart = True

    def _follow(self, healthy_s: int) -> None:
        if healthy_s < _HEALTHY_S:
            return
        record = self._record
        record.active = self._slot
        record.trial = _NO_SLOT
        record.result = _DONE
        with open(self._loader.image_path(self._root, self._slot), "rb") as file:
            header = self._loader.read_header(file.read(_HEADER_BYTES))
        if header is not None:
            record.lowest = max(record.lowest, self._loader.version_number(header))
        try:
            record.save()
        except OSError as error:  # until the trial's time is over
            print("update:", error)
            return
        print("update: image.%d is healthy" % self._slot)
        self._result = _DONE
        self._state = _IDLE if self._key() is not None else _UNSUPPORTED
        self._find_part()
        self._tell()

    # --- key and register image -----------------------------------------------------------

    def _key(self) -> "bytes | None":
        try:
            with open("%s/update.key" % self._root, "rb") as file:
                data = file.read(2 * KEY_BYTES + 3)  # a line's end may follow the digits
            if len(data) != KEY_BYTES:
                data = binascii.unhexlify(data.strip())
        except (OSError, ValueError):
            return None
        return data if len(data) == KEY_BYTES else None

    def _tell(self) -> None:
        put = self._block.set
        put("UpSt", self._state)
        put("UpRes", self._result)
        put("Slot", None if self._slot == _NO_SLOT else self._slot)
        put("Have", self.have)
        put("Size", self._size or None)
        put("Img1", None)
        put("Img2", None)
        if self._size:
            self._put_digest("Img1", self._head)

    def _tell_digest(self, name: str, path: str) -> None:
        try:
            with open(path, "rb") as file:
                self._put_digest(name, file.read(_HEADER_BYTES))
        except OSError:
            pass

    def _put_digest(self, name: str, head: "bytes | bytearray") -> None:
        at = _DIGEST_AT
        block = self._block
        block.put_bytes(2 * block.layout.offset(name), memoryview(head)[at : at + 8])
