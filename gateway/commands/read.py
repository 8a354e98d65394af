"""``echelon read``: everything one pack says, once."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from common import models
from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.commands.bus_arguments import add_bus_arguments, master_from
from gateway.errors import UserError
from gateway.modbus.frames import MAX_UNIT, DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import Master, NoAnswerError
from gateway.pack import NotAPackError, Pack
from gateway.planner import DETAIL_BLOCKS
from gateway.reading import detail_message, state_message

if TYPE_CHECKING:
    import argparse

HELP = "prints what one pack says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    parser.add_argument("address", metavar="ADDRESS", type=int, help="unit address, 1 to 247")
    parser.add_argument("--json", action="store_true", help="as the messages the gateway sends")


async def read_pack(master: Master, unit: int) -> dict[str, Any]:
    """``{"state": ..., "detail": ...}`` of the pack at ``unit``."""
    pack = Pack(master, unit)
    identity = await pack.identify()
    snapshot = await pack.block(models.SNAPSHOT)
    state = state_message(identity.serial, snapshot, time.time(), recalled=False)
    blocks = {model_id: await pack.block(model_id) for model_id in DETAIL_BLOCKS}
    return {"state": state, "detail": detail_message(identity.serial, blocks, time.time())}


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(_text(each) for each in value) or "none"
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
            print(f"  {key:32} {_text(value)}")
    for key, value in inner.items():
        if isinstance(value, list):
            print_rows(key, value)
        else:
            print_table(key, value)


def print_rows(title: str, entries: list[dict[str, Any]]) -> None:
    """A line an entry, under the names of its figures."""
    lines = [list(entries[0]), *([_text(value) for value in each.values()] for each in entries)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"{title}:")
    for line in lines:
        padded = (text.rjust(width) for text, width in zip(line, widths, strict=True))
        print("  " + "  ".join(padded))


async def _run(args: argparse.Namespace) -> int:
    if not 1 <= args.address <= MAX_UNIT:
        raise UserError(f"echelon: address {args.address} is not one (try 1 to {MAX_UNIT})")
    master = master_from(args)
    try:
        values = await read_pack(master, args.address)
    except LineError as error:
        raise UserError(f"echelon: {error}") from error
    except (NoAnswerError, NotAPackError, DeviceError) as error:
        raise UserError(
            f"echelon: {args.port}: {error} (echelon scan {args.port} shows who answers)"
        ) from error
    except (WrongBlockError, TornBlockError, NotReadyError) as error:
        raise UserError(f"echelon: {args.port}: {error} (try again)") from error
    finally:
        master.close()
    if args.json:
        print(json.dumps(values))
    else:
        for title, table in values.items():
            print_table(title, table)
    return 0


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    return asyncio.run(_run(args))
