"""One pack on a bus: who it is, its blocks, its kept readings, its clock.

    pack = Pack(master, unit=1)
    identity = await pack.identify()
    snapshot = await pack.block(models.SNAPSHOT)

The identity is read once and kept; a block that is not this pack's forgets it, so that a pack
that was exchanged is met anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import models
from common.registers import HEADER_WORDS, Layout
from gateway.blocks import (
    Decoded,
    TornBlockError,
    WrongBlockError,
    decode_block,
    decode_whole,
    is_filled,
)
from gateway.history_packets import FILE_RECORDS, PACKET_WORDS, Packet, decode_packet
from gateway.modbus.frames import file_request, read_request, read_write_request, write_request
from gateway.planner import WALK_STEPS, Plan, Read, begin_read, version_read, walk_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.modbus.master import Master

TORN_TRIES = 4
CHALLENGE_BYTES = 16
_OURS = set(models.OURS)


class NotAPackError(Exception):
    """What answers at this address is not a pack of ours; the message says what was found."""


@dataclass(frozen=True)
class Identity:
    """What does not change while a pack stays on its address."""

    serial: str
    manufacturer: str | None
    model: str | None
    firmware: str | None
    unit: int
    plan: Plan

    @property
    def n_cells(self) -> int:
        """Cells in series."""
        return self.plan.n_cells


@dataclass(frozen=True)
class SettingsBlock:
    """The SETTINGS model as read once."""

    points: Decoded
    challenge: bytes


class Pack:
    """The pack that answers at one unit address of a bus."""

    def __init__(self, master: Master, unit: int) -> None:
        self.unit = unit
        self.retries: int | None = None  # None: as the bus is set
        self._master = master
        self._identity: Identity | None = None

    def forget(self) -> None:
        """Ask who it is before anything else is read."""
        self._identity = None

    async def identify(self) -> Identity:
        """Serial number, firmware and map of the pack; ``NotAPackError`` for another device."""
        if self._identity is None:
            self._identity = await self._meet()
        return self._identity

    async def block(self, model_id: int) -> Decoded:
        """One block, whole and checked.

        ``TornBlockError`` when it changed under every one of some tries, ``WrongBlockError``
        when another pack answers now, ``NotReadyError`` before its first measurement.
        """
        identity = await self.identify()
        layout = identity.plan.layouts[model_id]
        for tries_left in range(TORN_TRIES - 1, -1, -1):
            parts = [await self._read(read) for read in identity.plan.reads(model_id)]
            try:
                return self._decode(identity, layout, b"".join(parts))
            except TornBlockError:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    async def recall(self, seq: int) -> Decoded | None:
        """The kept reading number ``seq``, or ``None`` when the board no longer has it."""
        identity = await self.identify()
        plan = identity.plan
        data = await self._choose(
            plan, plan.recall, models.CONTROL, "RecSel", [seq >> 16, seq & 0xFFFF]
        )
        layout = plan.layouts[models.RECALL]
        at = 2 * layout.offset("Seq")
        came = int.from_bytes(data[at : at + 4], "big")
        if came != seq:  # first: an answer to another question does not tell who is there now
            raise TornBlockError(f"reading {came} came instead of {seq}")
        block = self._decode(identity, layout, data, decode_whole)
        return block if is_filled(block) else None

    async def history(self, number: int, retries: int = 0) -> Packet:
        """Records of its history from ``number`` on, or from the first there is behind it."""
        identity = await self.identify()
        file, record = 1 + number // FILE_RECORDS, number % FILE_RECORDS
        request = file_request(self.unit, file, record, PACKET_WORDS)
        data = await self._master.exchange(request, retries)
        try:
            return decode_packet(data, identity.n_cells, identity.serial, number)
        except WrongBlockError:
            self.forget()
            raise

    async def fault(self, number: int) -> Decoded:
        """What the board remembers of the fault with this number, of ``codes.Fault``."""
        identity = await self.identify()
        plan = identity.plan
        data = await self._choose(plan, plan.fault, models.CONTROL, "FltSel", [number])
        block = self._decode(identity, plan.layouts[models.FAULTS], data)
        if block["FltNo"] != number:
            raise TornBlockError(f"fault {block['FltNo']} came instead of {number}")
        return block

    async def faults(self) -> list[Decoded]:
        """What the board remembers of every fault that ever came; of fault 0 when none did.

        ``TornBlockError`` when another one came meanwhile.
        """
        first = await self.fault(0)
        ever = first["Ever"] or 0
        numbers = [number for number in range(ever.bit_length()) if ever >> number & 1]
        blocks = [first if number == 0 else await self.fault(number) for number in numbers]
        for block in blocks:
            if any(block[name] != first[name] for name in ("Boot", "NFlt", "Ever", "Unsvd")):
                raise TornBlockError("a fault came or was saved while they were read")
        return blocks or [first]

    async def command(self, code: int) -> int:
        """Give the board one of ``codes.Command``; what became of it, of ``codes.CommandResult``.

        It is sent once: a command whose answer is lost (``NoAnswerError``) may have been taken.
        """
        plan = (await self.identify()).plan
        read = plan.command
        address = plan.addresses[models.CONTROL] + plan.layouts[models.CONTROL].offset("Cmd")
        request = read_write_request(self.unit, read.address, read.count, address, [code])
        control = self._control(plan, read.cut(await self._master.exchange(request, 0)))
        if control["Cmd"] != code:
            raise TornBlockError(f"command {control['Cmd']} came back instead of {code}")
        return int(control["CmdRes"])

    async def settings(self, place: int = 0) -> SettingsBlock:
        """The SETTINGS model, with the hard limits of the setting at ``place``."""
        identity = await self.identify()
        plan = identity.plan
        data = await self._choose(plan, plan.settings, models.SETTINGS, "Sel", [place])
        layout = plan.layouts[models.SETTINGS]
        block = self._decode(identity, layout, data)
        if block["Sel"] != place:
            raise TornBlockError(f"setting {block['Sel']} came instead of {place}")
        at = 2 * layout.offset("Chal1")
        return SettingsBlock(block, data[at : at + CHALLENGE_BYTES])

    async def write_settings(self, signed: bytes) -> None:
        """Write response and settings; what becomes of them stands in the model.

        It is sent once: when the answer is lost (``NoAnswerError``) it may have been taken.
        """
        plan = (await self.identify()).plan
        address = plan.addresses[models.SETTINGS] + plan.layouts[models.SETTINGS].offset("Resp1")
        words = [int.from_bytes(signed[at : at + 2], "big") for at in range(0, len(signed), 2)]
        await self._master.exchange(write_request(self.unit, address, words), 0)

    async def set_utc(self, utc_s: int) -> None:
        """Tell the board the time: seconds since 1970-01-01 UTC."""
        plan = (await self.identify()).plan
        address = plan.addresses[models.CONTROL] + plan.layouts[models.CONTROL].offset("SetUtc")
        await self._master.exchange(
            write_request(self.unit, address, [utc_s >> 16, utc_s & 0xFFFF]), self.retries
        )

    async def _choose(
        self, plan: Plan, read: Read, model_id: int, point: str, words: list[int]
    ) -> bytes:
        """Write a point and read, in one transaction, what it chooses."""
        address = plan.addresses[model_id] + plan.layouts[model_id].offset(point)
        request = read_write_request(self.unit, read.address, read.count, address, words)
        return read.cut(await self._master.exchange(request, self.retries))

    def _control(self, plan: Plan, data: bytes) -> Decoded:
        try:
            return plan.layouts[models.CONTROL].decode(data)
        except ValueError as error:
            self.forget()
            raise WrongBlockError(str(error)) from error

    def _decode(
        self,
        identity: Identity,
        layout: Layout,
        data: bytes,
        decode: Callable[[Layout, bytes, str], Decoded] = decode_block,
    ) -> Decoded:
        try:
            return decode(layout, data, identity.serial)
        except WrongBlockError:
            self.forget()
            raise

    async def _read(self, read: Read) -> bytes:
        request = read_request(self.unit, read.address, read.count)
        return read.cut(await self._master.exchange(request, self.retries))

    async def greet(self) -> tuple[Decoded, dict[int, tuple[int, int]]]:
        """The common model, and ``{model id: (address, registers)}``, whatever its release."""
        data = await self._read(begin_read())
        if data[:4] != models.SUNS:
            raise NotAPackError(f"unit {self.unit}: no SunSpec map at {models.BASE_ADDRESS}")
        try:
            common = Layout(models.COMMON, 1).decode(data[4:])
        except ValueError as error:
            raise NotAPackError(f"unit {self.unit}: {error}") from error
        if not common["SN"]:
            raise NotAPackError(f"unit {self.unit}: the pack has no serial number")
        return common, await self._walk()

    async def _meet(self) -> Identity:
        common, found = await self.greet()
        if models.DEVICE in found:
            version = int.from_bytes(
                await self._read(version_read(found[models.DEVICE][0])), "big"
            )
            if version != models.MAP_VERSION:
                raise NotAPackError(
                    f"unit {self.unit}: its register map has version {version}, this gateway's "
                    f"{models.MAP_VERSION}: give board and gateway the same release"
                )
        return Identity(
            common["SN"], common["Mn"], common["Md"], common["Vr"], self.unit, _plan(found)
        )

    async def _walk(self) -> dict[int, tuple[int, int]]:
        """``{model id: (address, registers)}`` behind the common one, until all ours are found."""
        found: dict[int, tuple[int, int]] = {}
        address = models.BASE_ADDRESS + begin_read().count
        for step in range(WALK_STEPS):
            head = await self._read(walk_read(address, step))
            model_id, length = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
            if model_id == models.END:
                return found
            found.setdefault(model_id, (address, length + HEADER_WORDS))
            if found.keys() >= _OURS:
                return found
            address += length + HEADER_WORDS
            if address > 0xFFFF:
                break
        raise NotAPackError(f"unit {self.unit}: the chain of models has no end")


def _plan(found: dict[int, tuple[int, int]]) -> Plan:
    """The plan for the models that were found; ``NotAPackError`` when they do not fit ours."""
    absent = [str(model_id) for model_id in models.OURS if model_id not in found]
    if absent:
        raise NotAPackError(f"a SunSpec device without the models {', '.join(absent)}")
    bare = Layout(models.SNAPSHOT, 0)
    n_cells, rest = divmod(
        found[models.SNAPSHOT][1] - bare.words, Layout(models.SNAPSHOT, 1).words - bare.words
    )
    if rest or not 1 <= n_cells <= models.MAX_CELLS:
        raise NotAPackError(f"a snapshot of {found[models.SNAPSHOT][1]} registers is not ours")
    plan = Plan(n_cells, {model_id: found[model_id][0] for model_id in models.OURS})
    for model_id, layout in plan.layouts.items():
        if layout.words != found[model_id][1]:
            raise NotAPackError(
                f"{layout.label} has {found[model_id][1]} registers where {layout.words} are "
                f"expected: is its firmware of another release than this gateway?"
            )
    return plan
