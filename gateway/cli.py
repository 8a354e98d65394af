"""The command ``echelon``: finds its subcommands in the entry points ``echelon.commands``.

A subcommand is a module with ``HELP: str``, ``add_arguments(parser)`` and ``run(args) -> int``.
What a user can mend is a ``UserError``: its lines go to standard error, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, cast

from common import __version__
from gateway.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Command(Protocol):
    """What a module behind an entry point of ``echelon.commands`` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the return value is the exit code."""


def commands() -> dict[str, Command]:
    """The subcommands that are installed, by name; one that cannot be loaded is left out."""
    found: dict[str, Command] = {}
    for entry in sorted(entry_points(group="echelon.commands")):
        try:
            found[entry.name] = cast("Command", entry.load())
        except ModuleNotFoundError as error:
            # the simulator's packages are optional; a gateway works without them
            print(f"echelon: command {entry.name!r} is left out: {error}", file=sys.stderr)
    return found


def build_parser(found: dict[str, Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="echelon", description="Collects, publishes and grades used battery packs."
    )
    parser.add_argument("--version", action="version", version=f"echelon {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in found.items():
        sub = subparsers.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the return value is the process's exit code."""
    args = build_parser(commands()).parse_args(argv)
    try:
        return int(args.run(args))
    except UserError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from trying to flush it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
