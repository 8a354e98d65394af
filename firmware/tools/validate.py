"""``echelon validate``: runs the firmware's estimators on recorded cells and says how wrong."""

import argparse
import importlib
import importlib.util

HELP = "runs the firmware's estimators on recorded cells"
PARTS = {
    "soh": "capacity from the charges of cells that the calibration has not seen",
    "soc": "state of charge over drive cycles",
    "pulse": "capacity and resistance from pulses",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for each part that is there."""
    subparsers = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, text in PARTS.items():
        where = f"firmware.tools.validate_{name}"
        if importlib.util.find_spec(where) is None:
            continue
        part = importlib.import_module(where)
        sub = subparsers.add_parser(name, help=text, description=text)
        part.add_arguments(sub)
        sub.set_defaults(part_run=part.run)


def run(args: argparse.Namespace) -> int:
    """Run the part that was named."""
    return int(args.part_run(args))
