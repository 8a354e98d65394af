"""Limits set over Modbus by whoever holds the board's key; docs/settings.md has the protocol.

One request writes a response and every setting that may be changed. ``receive`` only takes the
bytes; ``update``, once a second, does the rest, for it writes flash:

1. the try is counted, the count is saved, and only then it is judged: pulling the plug gains
   nothing;
2. the set is checked as a whole, against the hard limits too, on a copy;
3. the AFE is configured with it in the next measurement cycle; the switches are open;
4. it is saved; only then it is in force, between two cycles.

Whatever fails before that leaves the former settings, and configures the AFE with them again.

The key is the file ``device.key`` in the board's root, 32 bytes or 64 hex digits; it is read for
each try, and goes nowhere. Without it, or without ``os.urandom``, nothing is ever taken.

    >>> settings, source = in_force(settings, storage)
    >>> remote = RemoteSettings(source, storage, image, measurement, protection, snapshot)
    >>> remote.receive(request, 6)
    >>> remote.update()
"""

import binascii
import json
import os
import struct

from common.hmac256 import hmac_sha256, same
from common.models import REMOTE, SETTINGS
from common.mp import const
from common.profiles import profile_crc
from firmware.image import Image
from firmware.image_sunspec import span
from firmware.measurement import Measurement
from firmware.protection import Protection
from firmware.settings import Settings, SettingsError
from firmware.snapshot import Snapshot
from firmware.storage import Storage

_LONGEST_S = const(3600)
_MOST_IN_A_ROW = const(13)  # failed tries; 2 ** 12 s is beyond _LONGEST_S
_TRIAL_S = const(15)  # for the AFE to be configured
_KEY_BYTES = const(32)
_CHALLENGE_BYTES = const(16)
_RESPONSE_BYTES = const(32)

# Numbers of ``common.settings_codes``, whose names a board need not carry.
_READY = const(1)  # SettingsState
_SLOWED = const(2)
_WRITTEN = const(3)
_TRIAL = const(4)
_NO_KEY = const(5)
_NONE = const(0)  # SettingsResult
_APPLIED = const(1)
_PENDING = const(2)
_REFUSED_RESPONSE = const(3)
_REFUSED_VALUE = const(4)
_REFUSED_SET = const(5)
_REFUSED_STORAGE = const(6)
_REFUSED_AFE = const(7)
_REFUSED_CONNECTED = const(8)
_REFUSED_SLOWED = const(9)
_REFUSED_NO_KEY = const(10)
_FILE = const(1)  # SettingsSource
_REMOTE = const(2)
_SET_ASIDE = const(3)


def in_force(settings: Settings, storage: Storage) -> "tuple[Settings, int]":
    """A copy of the file's settings with what was set over Modbus, and its ``SettingsSource``.

    What was set for another pack or profile, or is no longer right with the file's other
    settings, is left aside.
    """
    data = storage.load("limits")
    if not data:
        return settings.changed({}), _FILE
    why: "object" = "another pack or profile"
    try:
        kept = json.loads(data)
        if kept["pack"] == _identity(settings):
            return settings.changed(kept["set"]), _REMOTE
    except (KeyError, TypeError, ValueError) as error:
        why = error
    print("limits set over Modbus are set aside:", why)
    return settings.changed({}), _SET_ASIDE


def _identity(s: Settings) -> "list[str | int]":
    return [s.serial, s.n_cells, s.profile.name, s.rated_mah, profile_crc(s.profile)]


class RemoteSettings:
    """The SETTINGS model of one pack; changes ``image.settings``, which is everybody's."""

    def __init__(
        self,
        source: int,
        storage: Storage,
        image: Image,
        measurement: Measurement,
        protection: Protection,
        snapshot: Snapshot,
    ) -> None:
        self._settings = self._wanted = image.settings
        self._storage = storage
        self._image = image
        self._measurement = measurement
        self._protection = protection
        self._snapshot = snapshot
        self._block = block = image.map.block(SETTINGS)
        self._format = span(block, REMOTE[0], REMOTE[-1])[0]
        self._written = bytearray(_RESPONSE_BYTES + struct.calcsize(self._format))
        self._challenge = b""
        self._refused: "tuple[str, ...]" = ()
        self._state = _READY
        if self._key() is None or not hasattr(os, "urandom"):
            self._state = _NO_KEY
        else:
            self._draw()
        data = storage.load("tries")
        # Failed ones in a row, and ever; when the last one was, if that was known.
        self._tries: "tuple[int, int, int | None]" = json.loads(data) if data else (0, 0, None)
        self._slow_down()  # after a restart the wait begins anew
        self._end(_NONE)
        self._tell_settings(source)
        self._tell_state()

    @property
    def busy(self) -> bool:
        """Whether something that was written is not done with yet."""
        return _WRITTEN <= self._state <= _TRIAL

    @property
    def refusal(self) -> int:
        """Why no try is taken now, whoever makes it; 0 when one is."""
        if self._state == _SLOWED:
            return _REFUSED_SLOWED
        return _REFUSED_NO_KEY if self._state == _NO_KEY else _NONE

    def receive(self, data: "bytearray | memoryview", at: int) -> bool:
        """Take response and settings from ``data[at:]``; ``False`` while busy with the last ones.

        Refused at once while a switch is closed, or may be.
        """
        if self.busy:
            return False
        result = self.refusal or _PENDING
        if result == _PENDING and (self._protection.connected or self._protection.allowed):
            result = _REFUSED_CONNECTED
        if result == _PENDING:
            written = self._written
            for i in range(len(written)):
                written[i] = data[at + i]
            self._state = _WRITTEN
            self._block.set("SetSt", _WRITTEN)
        self._end(result)
        return True

    def tell_bounds(self, place: int) -> None:
        """Put the hard limits of one setting into the model."""
        low = high = None
        if place < len(REMOTE):
            low, high = self._settings.bounds(REMOTE[place])
        self._block.set("SelLo", low)
        self._block.set("SelHi", high)

    def update(self) -> bool:
        """Go on, once a second; whether other settings are in force now.

        Allocates nothing unless busy.
        """
        changed = False
        if self._state == _WRITTEN:
            self._state = _READY
            try:
                self._end(self._judge())
            except OSError:
                self._end(_REFUSED_STORAGE)
        elif self._state == _TRIAL:
            changed = self._follow()
        self._tell_state()
        return changed

    # --- one try --------------------------------------------------------------------------

    def _judge(self) -> int:
        """What becomes of the settings that were written; ``OSError``: storage fails."""
        written = self._written
        if not self.is_genuine(written[:_RESPONSE_BYTES], written[_RESPONSE_BYTES:]):
            print("settings refused: try %d without the key" % self._tries[0])
            return _REFUSED_RESPONSE
        numbers = struct.unpack_from(self._format, self._written, _RESPONSE_BYTES)
        values = dict(zip(REMOTE, numbers))  # noqa: B905  MicroPython has no "strict"
        for name in REMOTE:
            low, high = self._settings.bounds(name)
            if not low <= values[name] <= high:
                self._refused = (name,)
                return _REFUSED_VALUE
        try:
            self._wanted = self._settings.changed(values)
        except SettingsError as error:
            self._refused = error.names
            return _REFUSED_SET
        self._measurement.use_settings(self._wanted)
        self._until_s = self._snapshot.uptime_s + _TRIAL_S
        self._state = _TRIAL
        return _PENDING

    def is_genuine(
        self, response: "bytes | bytearray", *parts: "bytes | bytearray | memoryview"
    ) -> bool:
        """Whether ``response`` is of who has the key and means ``parts``.

        The try is counted, that is saved, and only then it is judged; ``OSError`` when it cannot
        be saved.
        """
        challenge = self._challenge
        self._draw()  # each serves once, whatever comes of it
        in_a_row, n_failed, utc_s = self._tries
        now_utc_s = self._image.utc_s(self._snapshot.uptime_s)
        self._count((min(in_a_row + 1, _MOST_IN_A_ROW), n_failed + 1, now_utc_s))
        key = self._key()
        serial = self._settings.serial.encode()
        if key is None or not same(hmac_sha256(key, challenge, serial, *parts), response):
            return False
        self._count((0, n_failed, utc_s))
        return True

    def _count(self, tries: "tuple[int, int, int | None]") -> None:
        self._tries = tries
        self._slow_down()
        self._storage.save("tries", json.dumps(tries).encode())

    def _slow_down(self) -> None:
        """Wait for as long as the tries that failed in a row ask."""
        in_a_row, n_failed, utc_s = self._tries
        wait_s = min(1 << in_a_row - 1, _LONGEST_S) if in_a_row else 0
        # Uptime at which the next try may be made; of one on trial, when it has failed.
        self._until_s = self._snapshot.uptime_s + wait_s
        self._block.set("NFail", n_failed)
        self._block.set("FailUtc", utc_s)

    def _follow(self) -> bool:
        """See what the AFE made of the new settings; save them, and put them in force."""
        measurement = self._measurement
        settings = self._settings
        if measurement.configured:
            result = self._save()
        elif measurement.problem or self._snapshot.uptime_s > self._until_s:
            result = _REFUSED_AFE
        else:
            return False
        self._state = _READY
        self._until_s = 0
        self._end(result)
        if result != _APPLIED:
            measurement.use_settings(settings)
            return False
        settings.take(self._wanted)
        measurement.settings = settings
        self._protection.use_settings(settings)
        self._image.changed = True
        self._tell_settings(_REMOTE)
        print("settings changed over Modbus")
        return True

    def _save(self) -> int:
        wanted = self._wanted
        values = {name: getattr(wanted, name) for name in REMOTE}
        text = json.dumps({"pack": _identity(wanted), "set": values})
        storage = self._storage
        before = storage.load("limits")
        try:
            storage.save("limits", text.encode())
        except OSError:
            try:  # it may be whole in spite of that
                storage.save("limits", before or b"")
            except OSError:
                pass
            return _REFUSED_STORAGE
        return _APPLIED

    # --- key and challenge ----------------------------------------------------------------

    def _key(self) -> "bytes | None":
        try:
            with open("%s/device.key" % self._storage.root, "rb") as file:
                data = file.read(2 * _KEY_BYTES + 3)  # a line's end may follow the digits
            if len(data) != _KEY_BYTES:
                data = binascii.unhexlify(data.strip())
        except (OSError, ValueError):
            return None
        return data if len(data) == _KEY_BYTES else None

    def _draw(self) -> None:
        self._challenge = os.urandom(_CHALLENGE_BYTES)
        at = 2 * self._block.layout.offset("Chal1")
        self._block.put_bytes(at, bytearray(self._challenge))

    # --- register image -------------------------------------------------------------------

    def _end(self, result: int) -> None:
        """Tell a result, with the settings that are to blame."""
        block = self._block
        names = self._refused
        block.set("SetRes", result)
        block.set("Ref1", REMOTE.index(names[0]) if names else None)
        block.set("Ref2", REMOTE.index(names[1]) if len(names) > 1 else None)
        self._refused = ()

    def _tell_settings(self, source: int) -> None:
        self._block.set("SetSrc", source)
        for name in REMOTE:
            self._block.set(name, getattr(self._settings, name))

    def _tell_state(self) -> None:
        s = self._snapshot
        wait_s = max(self._until_s - s.uptime_s, 0)
        if self._state <= _SLOWED:
            self._state = _SLOWED if wait_s else _READY
        block = self._block
        block.set("Wait", wait_s)
        block.set("SetSt", self._state)
        block.set("Seq", s.seq or None)
        block.set("SeqEnd", s.seq or None)
