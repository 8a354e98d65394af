"""What a board is told once by the holder of its key: how it was calibrated, whose pack it is.

Each model is written in one request, a response and all its values, as SETTINGS is
(``firmware.remote_settings`` owns key, challenge, and the wait after failed tries). The response
is HMAC-SHA256 with the key over challenge, serial number, the record's name and the values. They
are taken in service mode alone, with the switches open, and counted: a pack whose calibration or
identity was changed says so.

``receive`` only takes the bytes; ``update``, once a second, judges and saves them.

    record ``calibration``, ``identity``: version u8, how often it was set u16, UTC u32 (0:
    unknown; little-endian), values as they were written

    >>> identity = Provision(models.IDENTITY, "identity", remote, storage, image, protection)
    >>> identity.receive(request, 6)
    True
    >>> identity.update(snapshot)
    False
"""

import struct

from common.mp import const
from firmware.image import Image
from firmware.protection import Protection
from firmware.remote_settings import RemoteSettings
from firmware.snapshot import Snapshot
from firmware.storage import Storage

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = const("<BHL")
_HEAD_BYTES = const(7)
_VERSION = const(1)
_MOST_TIMES = const(0xFFFE)
_RESPONSE_BYTES = const(32)

# Numbers of ``common.settings_codes``, whose names a board need not carry.
_NONE = const(0)
_APPLIED = const(1)
_PENDING = const(2)
_REFUSED_RESPONSE = const(3)
_REFUSED_VALUE = const(4)
_REFUSED_STORAGE = const(6)
_REFUSED_CONNECTED = const(8)


class Provision:
    """One model. ``values`` are those in force, ``b""`` while there are none.

    ``wrong(values)`` gives the index of the first value that cannot be, or -1.
    """

    def __init__(
        self,
        model_id: int,
        name: str,
        remote: RemoteSettings,
        storage: Storage,
        image: Image,
        protection: Protection,
        wrong: "Callable[[bytes], int]" = lambda _values: -1,
    ) -> None:
        self._name = name
        self._remote = remote
        self._storage = storage
        self._image = image
        self._protection = protection
        self._wrong = wrong
        self._block = block = image.map.block(model_id)
        self._values_at = 2 * block.layout.offset("Resp1") + _RESPONSE_BYTES
        self._n_bytes = 2 * block.layout.offset("SeqEnd") - self._values_at
        self.values = self._written = b""
        self._times = 0
        self._bad: "int | None" = None  # which value was refused
        self._told = False  # the block stands as it is
        self._end(_NONE)
        data = storage.load(name)
        if data and data[0] == _VERSION and len(data) == _HEAD_BYTES + self._n_bytes:
            _version, self._times, utc_s = struct.unpack_from(_HEAD, data)
            if wrong(data[_HEAD_BYTES:]) < 0:
                self._take(data[_HEAD_BYTES:], utc_s)
        if data and not self.values:
            print("%s is set aside: it is not this pack's" % name)
        block.set("N", self._times)

    def receive(self, data: "bytearray | memoryview", at: int) -> bool:
        """Take response and values from ``data[at:]``; ``False`` while busy with the last ones."""
        remote = self._remote
        if self._written or remote.busy:
            return False
        result = remote.refusal
        if not result and (not self._protection.service or self._protection.allowed):
            result = _REFUSED_CONNECTED
        if not result:
            result = _PENDING
            self._written = bytes(data[at : at + _RESPONSE_BYTES + self._n_bytes])
        self._end(result)
        return True

    def update(self, snapshot: Snapshot) -> bool:
        """Go on, once a second; whether other ``values`` are in force now."""
        written, self._written = self._written, b""
        result = _NONE
        if written:
            try:
                result = self._judge(written, snapshot)
            except OSError:
                result = _REFUSED_STORAGE
            self._end(result)
        if not self._told:
            self._block.set("Seq", snapshot.seq or None)
            self._block.set("SeqEnd", snapshot.seq or None)
            self._told = snapshot.seq != 0
        return result == _APPLIED

    def _judge(self, written: bytes, snapshot: Snapshot) -> int:
        values = written[_RESPONSE_BYTES:]
        if not self._remote.is_genuine(written[:_RESPONSE_BYTES], self._name.encode(), values):
            print("%s refused: without the key" % self._name)
            return _REFUSED_RESPONSE
        bad = self._wrong(values)
        if bad >= 0:
            self._bad = bad
            return _REFUSED_VALUE
        if not self._protection.service:
            return _REFUSED_CONNECTED
        times = min(self._times + 1, _MOST_TIMES)
        utc_s = self._image.utc_s(snapshot.uptime_s) or 0
        self._storage.save(self._name, struct.pack(_HEAD, _VERSION, times, utc_s) + values)
        self._times = times
        self._take(values, utc_s)
        print("%s was set over Modbus" % self._name)
        return _APPLIED

    def _take(self, values: bytes, utc_s: int) -> None:
        self.values = values
        block = self._block
        block.put_bytes(self._values_at, memoryview(values))
        block.set("N", self._times)
        block.set("SetUtc", utc_s or None)

    def _end(self, result: int) -> None:
        block = self._block
        block.set("Res", result)
        block.set("Bad", self._bad)
        self._bad = None
        self._told = False
