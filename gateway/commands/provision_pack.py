"""Actions of ``echelon provision`` over Modbus: calibration, and whose pack a board has.

docs/provisioning.md says how a workshop goes about it.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import codes, model_docs, models
from common.settings_codes import SettingsResult
from gateway.calibrating import N_TEMPERATURES, Calibration, Point, Readings, fit
from gateway.commands.bus_arguments import (
    add_address_argument,
    add_bus_arguments,
    bus_errors,
    checked_address,
    master_from,
)
from gateway.commands.settings import EXIT_REFUSED, REFUSALS
from gateway.device_key import read_key
from gateway.errors import UserError, reason
from gateway.looking import CLOSED, open_switches
from gateway.provisioner import Provisioner, calibration_values, identity_values

if TYPE_CHECKING:
    import argparse

READINGS = 10
TEXTS = {
    "maker": "Mkr", "type": "Typ", "batch": "Bat", "made": "Made", "in_service": "Serv",
    "former_serial": "Prev", "passport": "Pass",
}  # fmt: skip
SHORTS = ("VGain", "StkGain", "AGain", "AOff", "TmpOff1", "TmpOff2", "TmpOff3", "TmpOff4")


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions and their options."""
    show = actions.add_parser("show", help="shows both")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    point = actions.add_parser("point", help="notes what board and reference say now")
    point.add_argument("--file", metavar="FILE", required=True, help="the point is added to it")
    point.add_argument(
        "--cell-v", metavar="V,V,...", help="of each cell from the lowest; - unknown"
    )
    point.add_argument("--stack-v", type=float, metavar="V", help="of the whole stack")
    point.add_argument("--current-a", type=float, metavar="A", help="positive when charging")
    point.add_argument("--temp-c", metavar="C,C,...", help="of each sensor, or one for all")
    calibrate = actions.add_parser("calibrate", help="calibrates the board by noted points")
    calibrate.add_argument("--file", metavar="FILE", required=True, help="points of this board")
    calibrate.add_argument("--reference", metavar="NAME", required=True, help="the instrument")
    calibrate.add_argument("--dry-run", action="store_true", help="only shows what would be set")
    identity = actions.add_parser("identity", help="tells the board whose pack it is")
    for action in (show, point, calibrate, identity):
        add_bus_arguments(action)
        add_address_argument(action)
    identity.add_argument(
        "texts", metavar="KEY=TEXT", nargs="+", help=f"of {', '.join(TEXTS)}; others stay"
    )
    for action in (calibrate, identity):
        action.add_argument("--key", metavar="FILE", help="the board's key (device.key)")
        action.add_argument("--by", metavar="NAME", required=True, help="who sets it")
        action.add_argument(
            "--service", action="store_true",
            help="put the pack into service mode for it; it is connected again if it was",
        )  # fmt: skip


# --- point --------------------------------------------------------------------------------------


def _numbers(text: str | None, option: str, most: int) -> list[float | None]:
    if text is None:
        return []
    try:
        numbers = [None if part.strip() == "-" else float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"echelon: {option} {text!r}: {error} (like 3.651,3.648,-)") from error
    if len(numbers) > most:
        raise UserError(f"echelon: {option} has {len(numbers)} numbers, the pack {most}")
    return numbers


def _seen(snapshot: dict[str, Any]) -> Readings:
    temps = [snapshot[f"Tmp{k}"] for k in range(1, N_TEMPERATURES + 1)]
    return Readings(
        [cell["V"] for cell in snapshot["cells"]], snapshot["VStk"], snapshot["A"], temps
    )


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean([v for v in values if v is not None]))


async def _point(provisioner: Provisioner, args: argparse.Namespace) -> int:
    cell_v = _numbers(args.cell_v, "--cell-v", provisioner.n_cells)
    temp_c = _numbers(args.temp_c, "--temp-c", N_TEMPERATURES)
    if len(temp_c) == 1:
        temp_c *= N_TEMPERATURES
    reference = Readings(cell_v, args.stack_v, args.current_a, temp_c)
    if reference == Readings([]):
        raise UserError("echelon: what does the reference say? (try --current-a 0)")
    in_force = Calibration.of(await provisioner.read(models.CALIBRATION))
    seen: dict[int, Readings] = {}
    while len(seen) < READINGS:
        snapshot = await provisioner.pack.block(models.SNAPSHOT)
        seen[snapshot["Seq"]] = in_force.undo(_seen(snapshot))
        await asyncio.sleep(0.1)
    each = list(seen.values())
    board = Readings(
        [_mean([r.cell_v[k] for r in each]) for k in range(provisioner.n_cells)],
        _mean([r.stack_v for r in each]),
        _mean([r.current_a for r in each]),
        [_mean([r.temp_c[k] for r in each]) for k in range(N_TEMPERATURES)],
    )
    utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    point = Point(provisioner.serial, utc, board, reference)
    try:
        with Path(args.file).open("a", encoding="utf-8") as file:
            file.write(point.line() + "\n")
    except OSError as error:
        raise UserError(f"echelon: {args.file}: {reason(error)}") from error
    print(f"{provisioner.serial}: noted in {args.file}, the mean of {READINGS} readings:")
    for name, unit in (("cell_v", "V"), ("stack_v", "V"), ("current_a", "A"), ("temp_c", "C")):
        told = getattr(reference, name)
        if told or told == 0:
            print(f"  {name:10} board {_text(getattr(board, name))} {unit}")
            print(f"  {'':10} reference {_text(told)} {unit}")
    return 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_text(each) for each in value)
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3f}"


# --- calibrate ----------------------------------------------------------------------------------


def _points(path: str, serial: str) -> list[Point]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"echelon: {path}: {reason(error)}") from error
    points = [
        Point.read(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()
    ]
    foreign = sorted({point.serial for point in points} - {serial})
    if foreign or not points:
        whose = f"points of {', '.join(foreign)}" if foreign else "no points"
        raise UserError(f"echelon: {path}: {whose}, this is {serial} (one file a board)")
    return points


def _registers(made: Calibration) -> tuple[dict[str, int], list[int]]:
    numbers = [
        *(
            round(100 * pct)
            for pct in (made.cell_gain_pct, made.stack_gain_pct, made.current_gain_pct)
        ),
        round(1000 * made.current_offset_a),
        *(round(10 * c) for c in made.temp_offset_c),
    ]
    return dict(zip(SHORTS, numbers, strict=True)), [round(1000 * v) for v in made.cell_offset_v]


def _place(number: int) -> str:
    """What the value is called that the board refuses."""
    if number < len(SHORTS):
        return model_docs.doc(models.CALIBRATION, SHORTS[number])[1].rstrip(".").lower()
    return f"the offset of cell {number - len(SHORTS) + 1}"


async def _calibrate(provisioner: Provisioner, args: argparse.Namespace) -> int:
    key = b"" if args.dry_run else read_key(args.key)
    points = _points(args.file, provisioner.serial)
    block = await provisioner.read(models.CALIBRATION)
    made = fit(points, provisioner.n_cells, Calibration.of(block))
    print(f"{provisioner.serial}: calibration by {len(points)} points")
    for name, value in asdict(made).items():
        print(f"  {name:18}{_text(value)}")
    if args.dry_run:
        return 0
    numbers, cells = _registers(made)
    values = calibration_values(numbers, cells, {"By": args.by, "Ref": args.reference})
    return await _set(provisioner, args, models.CALIBRATION, values, key)


# --- identity -----------------------------------------------------------------------------------


async def _identity(provisioner: Provisioner, args: argparse.Namespace) -> int:
    key = read_key(args.key)
    block = await provisioner.read(models.IDENTITY)
    texts = {point: block[point] or "" for point in TEXTS.values()}
    for text in args.texts:
        name, equals, value = text.partition("=")
        if name not in TEXTS or not equals:
            raise UserError(f"echelon: {text!r} is not KEY=TEXT (keys: {', '.join(TEXTS)})")
        texts[TEXTS[name]] = value
    values = identity_values(texts | {"By": args.by})
    return await _set(provisioner, args, models.IDENTITY, values, key)


async def _set(
    provisioner: Provisioner, args: argparse.Namespace, model_id: int, values: bytes, key: bytes
) -> int:
    pack = provisioner.pack
    before: int = codes.State.SERVICE
    if args.service:
        before = await open_switches(pack, codes.Command.SERVICE)
    try:
        block = await provisioner.write(model_id, values, key)
    finally:
        if before != codes.State.SERVICE:
            await pack.command(codes.Command.DISCONNECT)
            if before in CLOSED:
                await pack.command(codes.Command.CONNECT)
    result = block["Res"]
    if result == SettingsResult.APPLIED:
        print(f"{provisioner.serial} takes it (set {block['N']} times so far)")
        return 0
    text = REFUSALS.get(result, f"result {result}")
    if result == SettingsResult.REFUSED_CONNECTED:
        text = "it must be in service mode (--service puts it there)"
    if result == SettingsResult.REFUSED_VALUE and block["Bad"] is not None:
        text = f"{_place(block['Bad'])} is more than tolerances explain: look for a fault first"
    print(f"{provisioner.serial} refuses: {text}")
    return EXIT_REFUSED


# --- show ---------------------------------------------------------------------------------------


async def _show(provisioner: Provisioner, *, as_json: bool) -> int:
    calibration = await provisioner.read(models.CALIBRATION)
    identity = await provisioner.read(models.IDENTITY)
    found: dict[str, Any] = {
        "serial": provisioner.serial,
        "calibration": {**_about(calibration), "reference": calibration["Ref"] or None}
        | (asdict(Calibration.of(calibration)) if calibration["N"] else {}),
        "identity": _about(identity)
        | {name: identity[point] or None for name, point in TEXTS.items()},
    }
    if as_json:
        print(json.dumps(found))
        return 0
    for title in ("calibration", "identity"):
        table: dict[str, Any] = dict(found[title])
        times = table.pop("times")
        print(f"{title} of {provisioner.serial}: {f'set {times} times' if times else 'never set'}")
        for name, value in table.items():
            if times and value is not None:
                print(f"  {name:18}{value if isinstance(value, str) else _text(value)}")
    return 0


def _about(block: dict[str, Any]) -> dict[str, Any]:
    utc = block["SetUtc"]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc)) if utc else None
    return {"times": block["N"], "utc": when, "by": block["By"] or None}


async def _run(args: argparse.Namespace) -> int:
    address = checked_address(args)
    master = master_from(args)
    with closing(master), bus_errors(args):
        provisioner = Provisioner(master, address)
        await provisioner.meet()
        if args.action == "show":
            return await _show(provisioner, as_json=args.json)
        if args.action == "point":
            return await _point(provisioner, args)
        if args.action == "calibrate":
            return await _calibrate(provisioner, args)
        return await _identity(provisioner, args)


def run(args: argparse.Namespace) -> int:
    """Carry the action out; exit code 1 when the board refuses."""
    return asyncio.run(_run(args))
