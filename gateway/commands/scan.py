"""``echelon scan``: which packs answer on a bus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.commands.bus_arguments import add_bus_arguments, master_from
from gateway.errors import UserError
from gateway.modbus.frames import MAX_UNIT, DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import Master, NoAnswerError
from gateway.pack import NotAPackError, Pack

if TYPE_CHECKING:
    import argparse

HELP = "finds the packs on a bus"
EXIT_NOTHING_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    parser.add_argument(
        "--addresses", default="1-16", metavar="LIST", help="like 1-16 or 1,5,9-12 (1-16)"
    )


def addresses(text: str) -> list[int]:
    """The addresses in ``1,5,9-12``; ``UserError`` when there is anything else in it."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.strip().isdecimal() and (not last or last.strip().isdecimal())):
            raise UserError(f"echelon: --addresses {text!r} is no list like 1-16 or 1,5,9-12")
        found += range(int(first), int(last or first) + 1)
    if not found or not all(1 <= address <= MAX_UNIT for address in found):
        raise UserError(f"echelon: --addresses {text!r} leaves 1 to {MAX_UNIT} (try 1-16)")
    return list(dict.fromkeys(found))


async def scan(master: Master, units: list[int]) -> int:
    """Ask every unit who it is and print who answers; how many packs there are."""
    found = 0
    for unit in units:
        pack = Pack(master, unit)
        pack.retries = 0
        try:
            identity = await pack.identify()
        except NoAnswerError:
            continue
        except (NotAPackError, DeviceError) as error:
            print(f"{unit:3}  not a pack: {error}", flush=True)
            continue
        found += 1
        print(
            f"{unit:3}  {identity.serial:20} {identity.n_cells:3} cells  "
            f"{identity.model or '-':16} firmware {identity.firmware or '-'}",
            flush=True,
        )
    return found


async def _run(args: argparse.Namespace) -> int:
    units = addresses(args.addresses)
    master = master_from(args)
    try:
        found = await scan(master, units)
    except LineError as error:
        raise UserError(f"echelon: {error}") from error
    finally:
        master.close()
    if not found:
        print(f"no pack answered on {args.port} at {args.addresses}")
    return 0 if found else EXIT_NOTHING_FOUND


def run(args: argparse.Namespace) -> int:
    """Scan; exit code 1 when nothing was found."""
    return asyncio.run(_run(args))
