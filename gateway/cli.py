"""The command ``echelon``: finds its subcommands in the entry points ``echelon.commands``.

A subcommand is a module with ``HELP: str``, ``add_arguments(parser)`` and ``run(args) -> int``.
What a user can mend is a ``UserError``: its lines go to standard error, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

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


def commands(wanted: str | None = None) -> dict[str, Command]:
    """The subcommands that are installed, by name; only ``wanted`` when that is one of them.

    One that lacks an optional package is left out, unless it is the one that is wanted.
    """
    installed = {entry.name: entry for entry in sorted(entry_points(group="echelon.commands"))}
    if wanted in installed:
        installed = {wanted: installed[wanted]}
    found: dict[str, Command] = {}
    for name, entry in installed.items():
        try:
            found[name] = cast("Command", entry.load())
        except ModuleNotFoundError as error:
            if name == wanted:
                raise UserError(
                    f"echelon: {name} needs the package {error.name!r}, which is not installed "
                    "(pip install 'echelon-bms[demo]')"
                ) from error
    return found


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(EXIT_USER_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser(found: dict[str, Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
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
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        found = commands(arguments[0] if arguments else None)
        args = build_parser(found).parse_args(arguments)
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
