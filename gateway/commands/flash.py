"""``echelon flash``: brings a new image of the firmware to packs, one after the other.

With ``usb`` in the place of PORT it installs one on the board at a USB port instead.
"""

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
from gateway.errors import UserError, read_file
from gateway.modbus.frames import DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import NoAnswerError
from gateway.pack import NotAPackError
from gateway.update_image import ImageFile, is_signed, read_public_key
from gateway.updater import UpdateError, Updater
from gateway.usb_board import on_usb
from gateway.usb_install import PORTS, Plan, check, install

if TYPE_CHECKING:
    import argparse

    from gateway.modbus.master import Master

HELP = "brings a new image of the firmware to packs, or to a board on USB"
USB = "usb"
EXIT_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser, also=f"{USB} for a board on USB")
    parser.add_argument(
        "addresses",
        metavar="ADDRESSES",
        help=f"like 3 or 1-16 or 1,5,9-12; after {USB} the board's port, like /dev/ttyACM0",
    )
    parser.add_argument("image", metavar="IMAGE", help="made by echelon image make")
    parser.add_argument(
        "--key", metavar="FILE", help="the fleet's update.key: check the signature before sending"
    )
    parser.add_argument(
        "--no-start", action="store_true", help="send and check it only, the packs stay connected"
    )
    usb = parser.add_argument_group(f"with {USB}")
    usb.add_argument("--board", choices=PORTS.values(), help="refuse any other")
    usb.add_argument(
        "--no-trial", action="store_true", help="start it for good: nobody on Modbus is waited for"
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


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, TimeRemainingColumn(), transient=True)


async def _flash(master: Master, args: argparse.Namespace, image: bytes) -> int:
    failed = 0
    for unit in addresses(args.addresses):
        with _progress() as bar:
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


def _usb(args: argparse.Namespace, plan: Plan) -> int:
    with on_usb(args.addresses) as board:
        port = check(board, plan)
        with _progress() as bar:
            task = bar.add_task(port, total=len(plan.image))
            said = install(
                board,
                plan,
                port,
                trial=not args.no_trial,
                progress=lambda done: bar.update(task, completed=done),
            )
        provisioned = board.size("settings.json") >= 0
        updatable = board.size("update.key") >= 0
    print(f"{args.addresses}: {port}: {said}", flush=True)
    if not updatable:
        print("it has no update.key, so it takes no update over Modbus (repeat with --key)")
    if not provisioned:
        print(f"it is no pack's yet: echelon provision usb {args.addresses}")
    return 0


async def _run(args: argparse.Namespace, image: bytes) -> int:
    master = master_from(args)
    with closing(master):
        try:
            return await _flash(master, args, image)
        except LineError as error:
            raise UserError(f"echelon: {error}") from error


def run(args: argparse.Namespace) -> int:
    """Update each pack; exit code 1 when one was not."""
    image = read_file(args.image)
    about = ImageFile.read(image, args.image)
    key = read_public_key(args.key) if args.key else None
    if key is not None and not is_signed(image, key):
        raise UserError(f"echelon: {args.image}: not signed with the private half of {args.key}")
    on_the_desk = args.port == USB
    if on_the_desk and args.no_start:
        raise UserError("echelon: --no-start is for packs on a bus")
    if not on_the_desk and (args.board or args.no_trial):
        raise UserError(f"echelon: --board and --no-trial go with {USB}")
    print(f"{args.image}: version {about.version_text}, {about.size / 1000:.1f} kB", flush=True)
    if on_the_desk:
        return _usb(args, Plan(image, about, args.board, key))
    return asyncio.run(_run(args, image))
