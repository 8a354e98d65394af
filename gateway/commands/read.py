"""``echelon read``: everything one pack says, once."""

from __future__ import annotations

import asyncio
import json
import time
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
from gateway.pack import Pack
from gateway.planner import DETAIL_BLOCKS
from gateway.reading import detail_message, faults_message, state_message

if TYPE_CHECKING:
    import argparse

    from gateway.modbus.master import Master

HELP = "prints what one pack says"
ROW_WIDTH = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    add_address_argument(parser)
    parser.add_argument("--json", action="store_true", help="as the messages the gateway sends")


async def read_pack(master: Master, unit: int) -> dict[str, Any]:
    """``{"state": ..., "detail": ..., "faults": ...}`` of the pack at ``unit``."""
    pack = Pack(master, unit)
    identity = await pack.identify()
    snapshot = await pack.block(models.SNAPSHOT)
    state = state_message(identity.serial, snapshot, time.time(), recalled=False)
    blocks = {model_id: await pack.block(model_id) for model_id in DETAIL_BLOCKS}
    return {
        "state": state,
        "detail": detail_message(identity.serial, blocks, time.time()),
        "faults": faults_message(identity.serial, await pack.faults(), time.time()),
    }


def as_text(value: Any) -> str:
    """A value of a message for people."""
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(as_text(each) for each in value) or "none"
    return str(value)


def print_table(title: str, table: dict[str, Any]) -> None:
    """One figure a line; what is inside comes after it under a title of its own.

    A list of entries of one shape, the cells, has a line an entry and a column a figure.
    """
    print(f"{title}:")
    inner: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            inner[key] = value
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inner[f"{title} {key}"] = value
        else:
            print(f"  {key:32} {as_text(value)}")
    for key, value in inner.items():
        if isinstance(value, list):
            print_rows(key, value)
        else:
            print_table(key, value)


def print_rows(title: str, entries: list[dict[str, Any]]) -> None:
    """A line an entry, under the names of its figures; in parts where a line would be too long.

    Each part begins with the first figure, which says whose line it is.
    """
    lines = [list(entries[0]), *([as_text(value) for value in each.values()] for each in entries)]
    first, *columns = zip(*lines, strict=True)
    print(f"{title}:")
    while columns:
        part = [first, columns.pop(0)]
        while columns and _width([*part, columns[0]]) <= ROW_WIDTH:
            part.append(columns.pop(0))
        for line in zip(*map(_justified, part), strict=True):
            print("  " + "  ".join(line))


def _width(columns: list[tuple[str, ...]]) -> int:
    return sum(2 + max(map(len, column)) for column in columns)


def _justified(column: tuple[str, ...]) -> list[str]:
    width = max(map(len, column))
    return [text.rjust(width) for text in column]


async def _run(args: argparse.Namespace) -> int:
    address = checked_address(args)
    master = master_from(args)
    with closing(master), bus_errors(args):
        values = await read_pack(master, address)
    if args.json:
        print(json.dumps(values))
    else:
        for title, table in values.items():
            print_table(title, table)
    return 0


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    return asyncio.run(_run(args))
