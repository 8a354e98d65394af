"""What ``scan`` and ``read`` share: the port on the command line, and a master for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import BAUDRATES, port_fault
from gateway.errors import UserError
from gateway.modbus.line import Port
from gateway.modbus.master import Timing
from gateway.service import make_master

if TYPE_CHECKING:
    import argparse

    from gateway.modbus.master import Master


def add_bus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PORT and the options that say how to talk on it."""
    parser.add_argument(
        "port", metavar="PORT", help="/dev/ttyUSB0, tcp://host:502 or rtu+tcp://host:port"
    )
    parser.add_argument("--baudrate", type=int, default=115200, help="of a serial port (115200)")
    parser.add_argument(
        "--timeout-ms", type=int, default=300, help="for an answer; twice as long when late (300)"
    )


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
