"""``echelon validate``: runs the firmware's estimators on recorded cells and says how wrong."""

import argparse

from firmware.tools import validate_pulse, validate_soc, validate_soh

HELP = "runs the firmware's estimators on recorded cells"
PARTS = (
    ("soh", validate_soh, "capacity from the charges of cells that the calibration has not seen"),
    ("soc", validate_soc, "state of charge over drive cycles"),
    ("pulse", validate_pulse, "capacity and resistance from pulses"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for each part."""
    subparsers = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, part, text in PARTS:
        sub = subparsers.add_parser(name, help=text, description=text)
        part.add_arguments(sub)
        sub.set_defaults(part_run=part.run)


def run(args: argparse.Namespace) -> int:
    """Run the part that was named."""
    return int(args.part_run(args))
