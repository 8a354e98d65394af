"""``echelon gateway``: collects packs and publishes them, until told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import config, logs
from gateway.service import serve

if TYPE_CHECKING:
    import argparse

HELP = "collects packs and publishes them, as a service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/echelon/gateway.toml"), metavar="FILE",
        help="configuration (/etc/echelon/gateway.toml)",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="check the configuration and end")
    parser.add_argument("--verbose", action="store_true", help="log every failed exchange")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = config.load(args.config)
    config.check_machine(settings, str(args.config))
    if args.check:
        print(f"{args.config}: good")
        return 0
    logs.set_up(verbose=args.verbose)
    return asyncio.run(serve(settings))
