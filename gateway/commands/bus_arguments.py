"""What the commands on a bus share: the port and the address, a master, and the errors' words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.config import BAUDRATES, port_fault
from gateway.errors import UserError
from gateway.modbus.frames import MAX_UNIT, DeviceError
from gateway.modbus.line import LineError, Port
from gateway.modbus.master import NoAnswerError, Timing
from gateway.pack import NotAPackError
from gateway.service import make_master

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.modbus.master import Master


def add_bus_arguments(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Add PORT and the options that say how to talk on it; ``also``: what else PORT may be."""
    ports = ["/dev/ttyUSB0", "tcp://host:502", "rtu+tcp://host:port", *([also] if also else [])]
    parser.add_argument("port", metavar="PORT", help=f"{', '.join(ports[:-1])} or {ports[-1]}")
    parser.add_argument("--baudrate", type=int, default=115200, help="of a serial port (115200)")
    parser.add_argument(
        "--timeout-ms", type=int, default=300, help="for an answer; twice as long when late (300)"
    )


def add_address_argument(parser: argparse.ArgumentParser) -> None:
    """Add ADDRESS."""
    parser.add_argument("address", metavar="ADDRESS", type=int, help="unit address, 1 to 247")


def checked_address(args: argparse.Namespace) -> int:
    """ADDRESS; ``UserError`` when no unit can have it."""
    if not 1 <= args.address <= MAX_UNIT:
        raise UserError(f"echelon: address {args.address} is not one (try 1 to {MAX_UNIT})")
    return int(args.address)


@contextmanager
def bus_errors(args: argparse.Namespace) -> Iterator[None]:
    """Turn what can go wrong with a pack on a bus into a ``UserError``."""
    try:
        yield
    except LineError as error:
        raise UserError(f"echelon: {error}") from error
    except (NoAnswerError, NotAPackError, DeviceError) as error:
        raise UserError(
            f"echelon: {args.port}: {error} (echelon scan {args.port} shows who answers)"
        ) from error
    except (WrongBlockError, TornBlockError, NotReadyError) as error:
        raise UserError(f"echelon: {args.port}: {error} (try again)") from error


def master_from(args: argparse.Namespace) -> Master:
    """The master for the port that was named; ``UserError`` when it cannot be."""
    try:
        port = Port.parse(args.port)
    except ValueError as error:
        raise UserError(f"echelon: port {args.port!r} {error}") from error
    if fault := port_fault(args.port):
        raise UserError(f"echelon: {fault}")
    if args.baudrate not in BAUDRATES:
        nearest = min(BAUDRATES, key=lambda known: abs(known - args.baudrate))
        raise UserError(
            f"echelon: --baudrate {args.baudrate} is not one the port supports (try {nearest})"
        )
    if args.timeout_ms < 1:
        raise UserError(f"echelon: --timeout-ms {args.timeout_ms} is below 1 (try 300)")
    timeout_s = args.timeout_ms / 1000
    return make_master(port, args.baudrate, Timing.at(args.baudrate, timeout_s, timeout_s))
