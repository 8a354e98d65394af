"""``echelon provision``: makes a board a pack's, once.

On USB it gets what it needs to be found and spoken to; what is set over Modbus, with its key, is
in ``provision_pack``.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands import provision_pack
from gateway.errors import UserError
from gateway.provisioning import Desk, find_profile, parse_settings, settings_text
from gateway.usb_board import on_usb
from gateway.usb_provision import ERASE, KEEP, Request, check, provision

if TYPE_CHECKING:
    import argparse

HELP = "makes a board a pack's: settings, key, calibration, identity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_usb(actions.add_parser("usb", help="a board on USB that has its firmware"))
    provision_pack.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    return _usb(args) if args.action == "usb" else provision_pack.run(args)


def _add_usb(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="the board's, like /dev/ttyACM0")
    parser.add_argument("--serial", required=True, help="of the pack")
    parser.add_argument("--cells", type=int, required=True, metavar="N", help="in series")
    parser.add_argument(
        "--profile", required=True, help="a cell profile, or a module made by echelon calibrate"
    )
    parser.add_argument(
        "--rated-mah", type=int, required=True, metavar="M", help="what the pack is rated for"
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
        help="other settings, like address=3 (docs/settings.md)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("provisioned"), metavar="DIR",
        help="for SERIAL.key and provision.jsonl (provisioned)",
    )  # fmt: skip
    parser.add_argument("--by", help="who does it, for the audit file (the user)")
    parser.add_argument(
        "--again", metavar="OLD_SERIAL", help="though it is provisioned already, as this"
    )
    parser.add_argument(
        "--records", choices=[KEEP, ERASE],
        help="with --again and another serial: what becomes of estimates and counts",
    )  # fmt: skip


def _usb(args: argparse.Namespace) -> int:
    profile = find_profile(args.profile)
    values: dict[str, object] = {
        "serial": args.serial,
        "n_cells": args.cells,
        "profile": profile.name,
        "rated_mah": args.rated_mah,
    }
    text = settings_text(values | parse_settings(args.changes), profile)
    request = Request(
        args.serial, text, profile.files, args.by or _user(), args.again, args.records
    )
    desk = Desk(args.out)
    with on_usb(args.port) as board:
        entry = provision(board, request, desk, check(board, request, desk))
    print(f"{args.port}: {args.serial}, settings CRC {entry['settings_crc']}")
    print(f"{desk.key_path(args.serial)}: its key: who has it may change its limits")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise UserError("echelon: nobody is known by this user's number (--by WHO)") from error
