"""``echelon flash``: brings a new image of the firmware to packs, one after the other."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.commands.bus_arguments import add_bus_arguments, master_from
from gateway.commands.scan import addresses
from gateway.errors import UserError
from gateway.modbus.frames import DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import NoAnswerError
from gateway.pack import NotAPackError
from gateway.update_image import ImageFile, is_signed, read_image, read_public_key
from gateway.updater import UpdateError, Updater

if TYPE_CHECKING:
    import argparse

    from gateway.modbus.master import Master

HELP = "brings a new image of the firmware to packs"
EXIT_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    parser.add_argument("addresses", metavar="ADDRESSES", help="like 3 or 1-16 or 1,5,9-12")
    parser.add_argument("image", metavar="IMAGE", help="made by echelon image make")
    parser.add_argument(
        "--key", metavar="FILE", help="the fleet's update.key: check the signature before sending"
    )
    parser.add_argument(
        "--no-start", action="store_true", help="send and check it only, the packs stay connected"
    )


async def _update(updater: Updater, *, start: bool) -> str:
    """Update one pack; what became of it. The errors are the caller's."""
    if not await updater.send():
        return "runs it already"
    if not start:
        return "has it, checked and not started"
    await updater.start()
    return "updated and healthy"


def _tell(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


async def _flash(master: Master, args: argparse.Namespace, image: bytes) -> int:
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    for unit in addresses(args.addresses):
        with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
            task = bar.add_task(f"unit {unit}", total=len(image))
            updater = Updater(master, unit, image, partial(_tell, bar, task))
            try:
                text = await _update(updater, start=not args.no_start)
            except (UpdateError, NoAnswerError, NotAPackError, DeviceError, TimeoutError) as error:
                failed += 1
                text = f"NOT updated: {error}"
            except (WrongBlockError, TornBlockError, NotReadyError) as error:
                failed += 1
                text = f"NOT updated: {error} (try again)"
        print(f"{unit:3}  {updater.serial or '-':20} {text}", flush=True)
    return EXIT_FAILED if failed else 0


async def _run(args: argparse.Namespace) -> int:
    image = read_image(args.image)
    about = ImageFile.read(image, args.image)
    if args.key and not is_signed(image, read_public_key(args.key)):
        raise UserError(f"echelon: {args.image}: not signed with the private half of {args.key}")
    print(f"{args.image}: version {about.version_text}, {about.size / 1000:.1f} kB")
    master = master_from(args)
    with closing(master):
        try:
            return await _flash(master, args, image)
        except LineError as error:
            raise UserError(f"echelon: {error}") from error


def run(args: argparse.Namespace) -> int:
    """Update each pack; exit code 1 when one was not."""
    return asyncio.run(_run(args))
