"""The CALIBRATION and IDENTITY models of one pack: read, and written with its key.

docs/provisioning.md has the protocol. Both are the business of a workshop that has the line for
itself: no gateway asks for them in its plan.
"""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING

from common import models
from common.registers import MAX_READ_WORDS, Layout, point_type
from common.settings_codes import SettingsResult
from gateway.blocks import decode_whole
from gateway.errors import UserError
from gateway.looking import look_until
from gateway.modbus.frames import read_request, write_request
from gateway.modbus.master import NoAnswerError
from gateway.pack import Pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.blocks import Decoded
    from gateway.modbus.master import Master

NAMES = {models.CALIBRATION: "calibration", models.IDENTITY: "identity"}
FIRST = {models.CALIBRATION: "VGain", models.IDENTITY: "Mkr"}


class Provisioner:
    """Reads and writes them. ``serial`` and ``n_cells`` are known after ``meet``."""

    def __init__(self, master: Master, unit: int) -> None:
        self.pack = Pack(master, unit)
        self.serial = ""
        self.n_cells = 0
        self._master = master
        self._addresses: dict[int, int] = {}

    async def meet(self) -> None:
        """Find out who it is."""
        identity = await self.pack.identify()
        self.serial, self.n_cells = identity.serial, identity.n_cells
        self._addresses = identity.plan.addresses

    async def read(self, model_id: int) -> Decoded:
        """One of the two models, in its units."""
        layout = Layout(model_id, self.n_cells)
        data = b""
        while words := layout.words - len(data) // 2:
            address = self._addresses[model_id] + len(data) // 2
            request = read_request(self.pack.unit, address, min(words, MAX_READ_WORDS))
            data += await self._master.exchange(request)
        return decode_whole(layout, data, self.serial)

    async def write(self, model_id: int, values: bytes, key: bytes) -> Decoded:
        """Write all values, signed with the board's key; the model when it was judged."""
        times = (await self.read(model_id))["N"]
        challenge = (await self.pack.settings()).challenge
        message = challenge + self.serial.encode() + NAMES[model_id].encode() + values
        signed = hmac.digest(key, message, "sha256") + values
        words = struct.unpack(f">{len(signed) // 2}H", signed)
        place = self._addresses[model_id] + Layout(model_id, self.n_cells).offset("Resp1")
        try:
            await self._master.exchange(write_request(self.pack.unit, place, list(words)), 0)
        except NoAnswerError:
            block = await self.read(model_id)
            if block["Res"] != SettingsResult.PENDING and block["N"] == times:
                raise
        return await look_until(
            lambda: self.read(model_id),
            lambda block: block["Res"] != SettingsResult.PENDING,
            "the board does not end with it (try show)",
        )


def calibration_values(
    numbers: Mapping[str, int], cells: Sequence[int], texts: Mapping[str, str]
) -> bytes:
    """The registers of CALIBRATION from ``VGain`` on: numbers as they stand there, and texts."""
    values = _values(models.CALIBRATION, numbers, texts)
    return values + struct.pack(f">{len(cells)}h", *cells)


def identity_values(texts: Mapping[str, str]) -> bytes:
    """The registers of IDENTITY from ``Mkr`` on; ``UserError`` when a text is too long."""
    return _values(models.IDENTITY, {}, texts)


def _values(model_id: int, numbers: Mapping[str, int], texts: Mapping[str, str]) -> bytes:
    points = models.model(model_id)[3]
    names = [point[0] for point in points]
    data = b""
    for name, kind, _sf, _access in points[names.index(FIRST[model_id]) :]:
        _kind, words, code = point_type(kind)
        if name in numbers:
            data += struct.pack(f">{code}", numbers[name])
            continue
        text = texts.get(name, "").encode()
        if len(text) > 2 * words:
            raise UserError(
                f"echelon: {texts[name]!r} is {len(text)} bytes long, at most {2 * words} fit "
                f"into {name}"
            )
        data += text.ljust(2 * words, b"\0")
    return data
