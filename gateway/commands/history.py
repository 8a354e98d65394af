"""``echelon history``: what a board has recorded, and whether its chain holds."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from common import models
from gateway.commands.bus_arguments import (
    add_address_argument,
    add_bus_arguments,
    bus_errors,
    checked_address,
    master_from,
)
from gateway.commands.read import as_text
from gateway.errors import UserError
from gateway.history_messages import follow
from gateway.history_packets import Chain, told_head
from gateway.pack import Pack

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

    from gateway.blocks import Decoded
    from gateway.modbus.master import Master

HELP = "prints what a board has recorded, and whether the chain over it holds"
RETRIES = 3  # of a packet: nobody else asks again
SHORT = ("pack_voltage_v", "current_a", "soc_pct", "soh_pct", "faults")
LONG = ("serial", "number", "kind", "boot", "run_s", "utc", "missing_before", "chain_ok")
OF_EVERY = {*LONG, "time_quality", "chain", "record"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    add_address_argument(parser)
    parser.add_argument(
        "--from", dest="first", metavar="N", type=int, help="number of the first record"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--csv", action="store_true", help="a line a record, a column a figure")
    shape.add_argument("--json", action="store_true", help="as the messages the gateway sends")
    shape.add_argument("--check", action="store_true", help="only whether the chain holds")


class Judgement:
    """What was found of the chain."""

    def __init__(self) -> None:
        self.records = 0
        self.missing: list[tuple[int, int]] = []  # first, last
        self.checks = 0
        self.broken: list[int] = []

    def see(self, message: dict[str, Any], *, is_first: bool) -> None:
        """Take one record."""
        self.records += 1
        if message["missing_before"] and not is_first:
            number = message["number"]
            self.missing.append((number - message["missing_before"], number - 1))
        self.see_check(message["number"], message["chain_ok"])

    def see_check(self, number: int, agrees: bool | None) -> None:
        """Take what a comparison with the board's own chain said."""
        if agrees is not None:
            self.checks += 1
        if agrees is False:
            self.broken.append(number)

    @property
    def is_whole(self) -> bool:
        """Whether every record is there, as it was recorded."""
        return not self.broken and not self.missing

    def __str__(self) -> str:
        if self.broken:
            numbers = ", ".join(map(str, self.broken))
            text = f"chain broken: records up to {numbers} are not what was recorded"
        elif not self.checks:
            text = "chain not checked: the board told it nowhere within these records"
        else:
            text = f"chain holds over {self.records} records"
        holes = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in self.missing)
        return f"{text}; missing: {holes or 'none'}"


async def messages(
    pack: Pack, block: Decoded, first: int, judgement: Judgement
) -> AsyncIterator[dict[str, Any]]:
    """The records from ``first`` to the last there was when ``block`` was read."""
    identity = await pack.identify()
    last = block["Last"]
    chain = Chain.of(identity.serial) if first <= 1 else Chain(first - 1, None)
    is_first = True
    while chain.number < last:
        packet = await pack.history(chain.number + 1, RETRIES)
        for message, after in follow(identity.serial, packet, chain):
            judgement.see(message, is_first=is_first)
            yield message
            is_first = False
            chain = after
        if not packet.records:
            judgement.missing.append((chain.number + 1, packet.first - 1))
            chain = Chain(packet.first - 1, None)
    number, value = told_head(block)
    judgement.see_check(last, chain.agrees(value, number))


async def _history(args: argparse.Namespace, master: Master, show: Callable[..., None]) -> int:
    pack = Pack(master, checked_address(args))
    block = await pack.block(models.HISTORY)
    if block["Last"] is None:
        raise UserError(
            f"echelon: {args.port}: the board has recorded nothing yet (wait a minute)"
        )
    first = args.first if args.first is not None else block["First"]
    if not 1 <= first <= block["Last"]:
        raise UserError(
            f"echelon: --from {first}: the board has records {block['First']} to {block['Last']}"
        )
    judgement = Judgement()
    async for message in messages(pack, block, first, judgement):
        show(message)
    print(judgement, file=sys.stderr)
    return 0 if judgement.is_whole else 1


def show_nothing(_message: dict[str, Any]) -> None:
    """Only the judgement is wanted."""


def show_json(message: dict[str, Any]) -> None:
    """One object a line."""
    print(json.dumps(message, separators=(",", ":")))


def show_line(message: dict[str, Any]) -> None:
    """Number, time, kind, and what happened."""
    when = message["utc"] or f"boot {message['boot']} + {message['run_s']} s"
    if message["kind"] == "reading":
        figures = {key: message[key] for key in SHORT}
    else:
        figures = _happened(message)
    if message["missing_before"]:
        print(f"{'':>9}  {message['missing_before']} records missing")
    text = "  ".join(f"{key} {as_text(value)}" for key, value in figures.items())
    print(f"{message['number']:>9}  {when:24}  {message['kind']:8}  {text}")


def _happened(message: dict[str, Any]) -> dict[str, Any]:
    """What a record has beside what every record has."""
    return {key: value for key, value in message.items() if key not in OF_EVERY}


class CsvTable:
    """A column a figure of a reading; what else happened is in the last one."""

    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout)
        self._keys: list[str] | None = None

    def show(self, message: dict[str, Any]) -> None:
        """One record, behind the heads of the columns."""
        if self._keys is None:
            self._keys = [
                "pack_voltage_v", "current_a", "cell_voltages_v", "temperatures_c",
                "fet_temperature_c", "afe_temperature_c", "soc_pct", "soh_pct", "switches",
                "faults", "charge_ah",
            ]  # fmt: skip
            self._writer.writerow([*LONG, *self._keys, "event"])
        is_reading = message["kind"] == "reading"
        values = [_cell(message[key]) if is_reading else "" for key in self._keys]
        event = {} if is_reading else _happened(message)
        heads = [_cell(message[key]) for key in LONG]
        self._writer.writerow([*heads, *values, json.dumps(event) if event else ""])


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join("" if each is None else str(each) for each in value)
    return "" if value is None else value


async def _run(args: argparse.Namespace) -> int:
    show: Callable[..., None] = show_line
    if args.json:
        show = show_json
    elif args.csv:
        show = CsvTable().show
    elif args.check:
        show = show_nothing
    master = master_from(args)
    with closing(master), bus_errors(args):
        return await _history(args, master, show)


def run(args: argparse.Namespace) -> int:
    """Read and print; 1 when the chain does not hold or records are missing."""
    return asyncio.run(_run(args))
