"""A new image of the firmware for one pack: sent, started, and seen to be healthy.

It needs two of our models, UPDATE and CONTROL, and SunSpec's 802, all of which keep their layout,
so that a board of an older release can be updated with a newer gateway. Interrupted anywhere it
goes on where it was: the board says how much it has, and of which image.

    updater = Updater(master, unit=1, image=data)
    await updater.send()
    await updater.start()
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common import codes, models
from common.profiles import NAMES, module_name
from common.registers import Layout
from common.update_codes import UpdateResult, UpdateState
from gateway.blocks import Decoded, TornBlockError, decode_whole
from gateway.modbus.frames import (
    FILE_RECORDS,
    DeviceError,
    read_request,
    read_write_request,
    write_file_request,
)
from gateway.modbus.master import NoAnswerError
from gateway.pack import NotAPackError, Pack
from gateway.update_image import FIRST_BYTES, ImageFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.modbus.master import Master

CHUNK_BYTES = 240
LOOK_EVERY_S = 0.1
SILENT_S = 90.0  # a board may be silent for so long: it starts anew
CHECK_S = 300.0
OPEN_S = 30.0
TRIAL_S = 720.0  # 10 minutes on the board, and its restarts
CONNECTED = 3  # 802 State
BUSY = 6
ILLEGAL_ADDRESS = 2
UNDER_WAY = (UpdateState.RECEIVING, UpdateState.CHECKING)  # the last bytes may wait to be written

REFUSALS = {
    UpdateResult.NOT_HEALTHY: "the new image was not healthy within its time; the former one "
    "runs again",
    UpdateResult.DAMAGED: "the image arrived damaged (try again)",
    UpdateResult.REFUSED_FORMAT: "it does not take the file for an image (is its loader older?)",
    UpdateResult.REFUSED_SIGNATURE: "the image is not signed with the key of this board's fleet",
    UpdateResult.REFUSED_VERSION: "the image is older than one that was healthy on it",
    UpdateResult.REFUSED_BOARD: "the image is for another interpreter, board or front end",
    UpdateResult.STORAGE: "its flash does not take the image (is it full?)",
    UpdateResult.ABANDONED: "the update was given up by command",
}


class UpdateError(Exception):
    """The pack does not take the image; the message says why."""


class Updater:
    """One pack's update. ``progress(bytes, of bytes)`` is called as it goes on."""

    def __init__(
        self,
        master: Master,
        unit: int,
        image: bytes,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        self.serial = ""
        self._master = master
        self._unit = unit
        self._image = image
        self._about = ImageFile.read(image, "image")
        self._progress = progress
        self._places: dict[int, tuple[int, int]] = {}

    async def send(self) -> bool:
        """Send the image and have it checked; ``False`` when the pack runs it already."""
        await self._meet()
        status = await self._status()
        if _digest(status, "Run") == self._wanted and status["UpSt"] != UpdateState.TRIAL:
            return False
        await self._check_cells()
        if status["UpSt"] == UpdateState.UNSUPPORTED:
            raise UpdateError(
                "it cannot be updated over Modbus: it was not started by the loader, or has no "
                "update.key (echelon flash usb installs both)"
            )
        if status["UpSt"] == UpdateState.TRIAL:
            raise UpdateError("an update is on trial on it (try again in ten minutes)")
        if _digest(status, "Img") == self._wanted:
            if status["UpSt"] == UpdateState.IDLE:  # all is there, and was not checked
                await self._resend_last()
        elif status["UpSt"] != UpdateState.IDLE:
            await self._command(codes.Command.ABANDON_UPDATE)
            status = await self._until(lambda now: now["UpSt"] == UpdateState.IDLE, CHECK_S)
        if not (_digest(status, "Img") == self._wanted and status["Have"]):
            await self._send_from(0)
        elif status["UpSt"] == UpdateState.RECEIVING:
            await self._send_from(status["Have"])
        self._progress(len(self._image), len(self._image))
        status = await self._until(lambda now: now["UpSt"] not in UNDER_WAY, CHECK_S)
        if status["UpSt"] != UpdateState.READY:
            raise UpdateError(REFUSALS.get(status["UpRes"], f"result {status['UpRes']}"))
        return True

    async def start(self) -> None:
        """Open the switches, start the image, wait until it is healthy, and close them again."""
        was_connected = (await self._block(models.BATTERY))["State"] == CONNECTED
        await self._command(codes.Command.DISCONNECT)
        deadline_s = _now() + OPEN_S
        while True:
            result = await self._command(codes.Command.START_UPDATE)
            if result == codes.CommandResult.DONE:
                break
            if result != codes.CommandResult.REFUSED_UNSAFE or _now() > deadline_s:
                raise UpdateError(f"it does not start the image (command result {result})")
            await asyncio.sleep(LOOK_EVERY_S)
        try:
            await self._until(self._has_restarted, SILENT_S)
            status = await self._until(lambda now: now["UpSt"] != UpdateState.TRIAL, TRIAL_S)
        except TimeoutError as error:
            status = await self._status()
            text = REFUSALS.get(status["UpRes"], "it did not start the image")
            raise UpdateError(text) from error
        if _digest(status, "Run") != self._wanted:
            raise UpdateError(REFUSALS.get(status["UpRes"], f"result {status['UpRes']}"))
        if was_connected:
            await self._command(codes.Command.CONNECT)

    def _has_restarted(self, status: Decoded) -> bool:
        if _digest(status, "Run") == self._wanted:
            return True
        return bool(status["UpSt"] != UpdateState.READY and status["UpRes"] != UpdateResult.NONE)

    @property
    def _wanted(self) -> bytes:
        return self._about.sha256[:8]

    async def _meet(self) -> None:
        pack = Pack(self._master, self._unit)
        common, self._places = await pack.greet()
        self.serial = common["SN"]
        for model_id in (models.UPDATE, models.CONTROL, models.BATTERY):
            if model_id not in self._places:
                raise NotAPackError(
                    f"unit {self._unit}: no model {model_id}: its firmware is too old to be "
                    "updated over Modbus (echelon flash usb)"
                )

    async def _check_cells(self) -> None:
        """``UpdateError`` when the pack needs a cell profile that is left out of the image."""
        if models.HEALTH not in self._places:
            return
        layout = Layout(models.HEALTH, 0)
        offset, words, _writable = layout.place("Prof")
        place = self._places[models.HEALTH][0] + offset
        data = await self._master.exchange(read_request(self._unit, place, words))
        name = data.rstrip(b"\0").decode("ascii", "replace")
        # What is not the name of ours is on the board itself, or in a layout of another time.
        if name in NAMES and f"common.cells.{module_name(name)}" not in self._about.modules:
            raise UpdateError(
                f"the image lacks the cell profile {name} (echelon image make --cells {name})"
            )

    # --- sending --------------------------------------------------------------------------

    async def _send_from(self, offset: int) -> None:
        image = self._image
        silent_since_s: float | None = None
        while offset < len(image):
            self._progress(offset, len(image))
            data = _chunk(image, offset)
            try:
                await self._master.exchange(write_file_request(self._unit, offset, data), 0)
            except DeviceError as error:
                if error.code == BUSY:
                    await asyncio.sleep(LOOK_EVERY_S / 2)
                    continue
                if error.code != ILLEGAL_ADDRESS:
                    raise
                offset = await self._place()
                continue
            except NoAnswerError:
                silent_since_s = silent_since_s or _now()
                if _now() - silent_since_s > SILENT_S:
                    raise
                offset = await self._place()
                continue
            silent_since_s = None
            offset += len(data)

    async def _place(self) -> int:
        """Where to go on, by what the pack says; ``UpdateError`` when it has refused the image."""
        status = await self._until(lambda now: now["UpSt"] != UpdateState.CHECKING, SILENT_S)
        if status["UpSt"] == UpdateState.IDLE and status["UpRes"] in REFUSALS:
            raise UpdateError(REFUSALS[status["UpRes"]])
        return int(status["Have"])

    async def _resend_last(self) -> None:
        offset = 0
        while offset + len(data := _chunk(self._image, offset)) < len(self._image):
            offset += len(data)
        await self._master.exchange(write_file_request(self._unit, offset, data), 3)

    # --- what the pack says ---------------------------------------------------------------

    async def _until(self, reached: Callable[[Decoded], bool], most_s: float) -> Decoded:
        """Look until ``reached``; ``TimeoutError`` when that takes longer, silence included."""
        deadline_s = _now() + most_s
        while True:
            try:
                status = await self._status()
                if reached(status):
                    return status
            except (NoAnswerError, TornBlockError):
                if _now() > deadline_s:
                    raise
            if _now() > deadline_s:
                raise TimeoutError(f"unit {self._unit}: not within {most_s:g} s")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _status(self) -> Decoded:
        return decode_whole(*await self._read(models.UPDATE), self.serial)

    async def _block(self, model_id: int) -> Decoded:
        layout, data = await self._read(model_id)
        return layout.decode(data)

    async def _read(self, model_id: int) -> tuple[Layout, bytes]:
        address, words = self._places[model_id]
        layout = Layout(model_id, 0)
        if words != layout.words:
            raise NotAPackError(f"unit {self._unit}: model {model_id} has {words} registers")
        data = await self._master.exchange(read_request(self._unit, address, words))
        return layout, data

    async def _command(self, code: int) -> int:
        address, words = self._places[models.CONTROL]
        layout = Layout(models.CONTROL, 0)
        place = address + layout.offset("Cmd")
        request = read_write_request(self._unit, address, words, place, [code])
        return int(layout.decode(await self._master.exchange(request))["CmdRes"])


def _chunk(image: bytes, offset: int) -> bytes:
    """The next piece: the header is sent by itself, and no piece passes the end of a file."""
    file_bytes = 2 * FILE_RECORDS
    end = min(offset + CHUNK_BYTES, (offset // file_bytes + 1) * file_bytes)
    return image[offset : min(end, FIRST_BYTES) if offset < FIRST_BYTES else end]


def _digest(status: Decoded, name: str) -> bytes | None:
    """The first 8 bytes of the SHA-256 of an image; ``None`` when there is none."""
    parts = (status[f"{name}1"], status[f"{name}2"])
    if None in parts:
        return None
    return b"".join(int(part).to_bytes(4, "big") for part in parts)


def _now() -> float:
    return asyncio.get_running_loop().time()
