"""``echelon settings``: shows the limits of a pack, and sets them with the board's key.

The board checks the key and the set; this command only signs what is asked for, and says in words
what the board answered. docs/settings.md has the protocol.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import struct
from contextlib import closing
from typing import TYPE_CHECKING

from common import codes, model_docs, models
from common.registers import point_type
from common.settings_codes import SettingsResult, SettingsSource, SettingsState
from gateway.commands.bus_arguments import (
    add_address_argument,
    add_bus_arguments,
    bus_errors,
    checked_address,
    master_from,
)
from gateway.device_key import read_key
from gateway.errors import UserError
from gateway.looking import CLOSED, look_until, open_switches
from gateway.modbus.master import NoAnswerError
from gateway.pack import Pack

if TYPE_CHECKING:
    import argparse

    from gateway.blocks import Decoded
    from gateway.pack import SettingsBlock

HELP = "shows the limits of a pack, and sets them with its key"

EXIT_REFUSED = 1
SOURCES = {
    SettingsSource.FILE: "from its file",
    SettingsSource.REMOTE: "as set over Modbus",
    SettingsSource.SET_ASIDE: "from its file; what was set over Modbus does not fit it any more",
}
REFUSALS = {
    SettingsResult.REFUSED_RESPONSE: "it does not know this key",
    SettingsResult.REFUSED_STORAGE: "its flash does not take them (try again)",
    SettingsResult.REFUSED_AFE: "its measuring chip does not take them; the former ones are in "
    "force (its console says why)",
    SettingsResult.REFUSED_CONNECTED: "its switches must be open (--disconnect opens them for it)",
    SettingsResult.REFUSED_SLOWED: "too many tries have failed",
    SettingsResult.REFUSED_NO_KEY: "it has no key (put device.key into its files)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bus_arguments(parser)
    add_address_argument(parser)
    parser.add_argument(
        "action", choices=["show", "set"], help="show all limits, or set some of them"
    )
    parser.add_argument("changes", metavar="KEY=VALUE", nargs="*", help="like cov_mv=4150")
    parser.add_argument("--key", metavar="FILE", help="the board's key: 32 bytes or 64 hex digits")
    parser.add_argument(
        "--disconnect",
        action="store_true",
        help="open the switches for it; they are closed again if they were",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def parse_changes(texts: list[str]) -> dict[str, int]:
    """``["cov_mv=4150"]`` as numbers; ``UserError`` when one is none."""
    changes: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in models.REMOTE:
            raise UserError(
                f"echelon: {name} cannot be set over Modbus (can be: {', '.join(models.REMOTE)})"
            )
        try:
            changes[name] = int(value)
            struct.pack(_code(name), changes[name])
        except (ValueError, struct.error) as error:
            raise UserError(
                f"echelon: {text}: {value or 'nothing'!r} is no whole number that fits "
                f"(try {name}=NUMBER, in {_unit(name)})"
            ) from error
    if not changes:
        raise UserError("echelon: set what? (try cov_mv=4150)")
    return changes


def signed(key: bytes, block: SettingsBlock, serial: str, wanted: dict[str, int]) -> bytes:
    """Response and settings, as they are written."""
    values = b"".join(struct.pack(_code(name), wanted[name]) for name in models.REMOTE)
    message = block.challenge + serial.encode() + values
    return hmac.digest(key, message, "sha256") + values


def _code(name: str) -> str:
    kinds = {point[0]: point[1] for point in models.model(models.SETTINGS)[3]}
    return ">" + str(point_type(kinds[name])[2])


def _unit(name: str) -> str:
    return model_docs.doc(models.SETTINGS, name)[0] or "units of one"


async def _show(pack: Pack, serial: str, *, as_json: bool) -> int:
    settings = {}
    for place, name in enumerate(models.REMOTE):
        points = (await pack.settings(place)).points
        settings[name] = {
            "value": points[name],
            "lowest": points["SelLo"],
            "highest": points["SelHi"],
            "unit": model_docs.doc(models.SETTINGS, name)[0],
        }
    about = {
        "source": codes.names(SettingsSource).get(points["SetSrc"], "unknown").lower(),
        "state": codes.names(SettingsState).get(points["SetSt"], "unknown").lower(),
        "wait_s": points["Wait"],
        "failed_tries": points["NFail"],
    }
    if as_json:
        print(json.dumps({"serial": serial, **about, "settings": settings}))
        return 0
    print(f"limits of {serial}, {SOURCES.get(points['SetSrc'], 'from an unknown source')}:")
    for name, each in settings.items():
        bounds = f"{each['lowest']} to {each['highest']}"
        meaning = model_docs.doc(models.SETTINGS, name)[1]
        print(f"  {name:20}{each['value']:7} {each['unit']:6}{bounds:17}{meaning}")
    print(f"  {about['failed_tries']} failed tries ever", end="; ")
    if points["SetSt"] == SettingsState.NO_KEY:
        print("the board has no key: nothing can be set")
    else:
        print(f"the next one in {points['Wait']} s" if points["Wait"] else "may be set now")
    return 0


def _refusal(points: Decoded, wanted: dict[str, int]) -> str:
    """Why the board refused, in words."""
    result = points["SetRes"]
    names = [models.REMOTE[n] for n in (points["Ref1"], points["Ref2"]) if n is not None]
    if result == SettingsResult.REFUSED_VALUE and names:
        return (
            f"{names[0]} {wanted[names[0]]} is beyond the hard limits of this pack "
            f"({points['SelLo']} to {points['SelHi']} {_unit(names[0])})"
        )
    if result == SettingsResult.REFUSED_SET and len(names) > 1:
        low, high = names
        return f"{low} {wanted[low]} must be below {high} {wanted[high]} (change one of them)"
    text = REFUSALS.get(result, f"result {result}")
    if points["Wait"]:
        text += f" (the next try may be made in {points['Wait']} s)"
    return text


async def _set(pack: Pack, serial: str, key: bytes, changes: dict[str, int]) -> tuple[bool, str]:
    """Set them; whether that was done, and what is to be said."""
    before = await pack.settings()
    wanted = {name: before.points[name] for name in models.REMOTE} | changes
    try:
        await pack.write_settings(signed(key, before, serial, wanted))
        answered = True
    except NoAnswerError:
        answered = False
    block = await look_until(
        pack.settings,
        lambda block: block.points["SetRes"] != SettingsResult.PENDING,
        "the board does not end with them (try show)",
    )
    if not answered and block.challenge == before.challenge:
        raise UserError("echelon: no answer, and nothing was changed (try again)")
    result = block.points["SetRes"]
    if result == SettingsResult.APPLIED:
        return True, f"{serial} takes " + ", ".join(f"{k}={v}" for k, v in changes.items())
    if result == SettingsResult.NONE:
        raise UserError("echelon: the board has started anew meanwhile (show tells what holds)")
    if block.points["Ref1"] is not None:
        block = await pack.settings(block.points["Ref1"])
    return False, f"{serial} refuses: {_refusal(block.points, wanted)}"


async def _run(args: argparse.Namespace) -> int:
    address = checked_address(args)
    if args.action == "show" and (args.changes or args.key or args.disconnect):
        raise UserError("echelon: KEY=VALUE, --key and --disconnect go with set")
    changes = parse_changes(args.changes) if args.action == "set" else {}
    key = read_key(args.key) if args.action == "set" else b""
    master = master_from(args)
    with closing(master), bus_errors(args):
        pack = Pack(master, address)
        serial = (await pack.identify()).serial
        if args.action == "show":
            return await _show(pack, serial, as_json=args.json)
        was_closed = args.disconnect and (
            await open_switches(pack, codes.Command.DISCONNECT) in CLOSED
        )
        try:
            done, text = await _set(pack, serial, key, changes)
        finally:
            if was_closed:
                await pack.command(codes.Command.CONNECT)
    if args.json:
        print(json.dumps({"serial": serial, "applied": done, "text": text}))
    else:
        print(text)
    return 0 if done else EXIT_REFUSED


def run(args: argparse.Namespace) -> int:
    """Show or set; exit code 1 when the board refuses."""
    return asyncio.run(_run(args))
