"""``echelon calibrate``: makes a cell profile from recorded cells."""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from common import codes
from common.crc import crc32
from firmware.tools.datasets import DataError, load_cells
from firmware.tools.fit_windows import Seen, fit_windows

HELP = "makes a cell profile from recorded cells"
FORMAT = "echelon-cell-profile-1"
EXIT_USER_ERROR = 2
_WINDOW_KEYS = ("marks", "centre", "scale", "k", "s", "m", "limit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--train", required=True, metavar="DIR", help="folder of recorded cells")
    known = sorted(name.lower() for name in codes.names(codes.Chemistry).values())
    parser.add_argument("--chemistry", required=True, choices=[n for n in known if n != "unknown"])
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="profile.json, or a .py for the firmware"
    )


def data_hash(folder: "str | Path") -> str:
    """SHA-256 over names and contents of the recorded cells."""
    digest = hashlib.sha256()
    for file in sorted(Path(folder).glob("*.npz")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def rounded(value: "Any") -> "Any":
    """Numbers with seven digits, as 32-bit floats keep them; tuples all the way down."""
    if isinstance(value, tuple):
        return tuple(rounded(part) for part in value)
    return float("%.7g" % value) if isinstance(value, float) else value


def table_crc(table: "tuple") -> int:  # type: ignore[type-arg]
    """What tells one calibration from another."""
    data = repr(table).encode()
    return crc32(data, 0, len(data))


def profile(folder: "str | Path", chemistry: str, table: "tuple") -> "dict[str, object]":  # type: ignore[type-arg]
    """The profile as it is written to JSON."""
    marks, taper, rate, full, warm, walk, scatter, windows = table
    return {
        "format": FORMAT,
        "chemistry": chemistry,
        "data": Path(folder).name,
        "data_sha256": data_hash(folder),
        "crc": table_crc(table),
        "charge_windows": {
            "marks_mv": marks,
            "taper_permille": taper,
            "rate_permille": rate,
            "full_mv": full,
            "warm_dc": warm,
            "walk_bp": walk,
            "scatter_bp": scatter,
            "windows": [dict(zip(_WINDOW_KEYS, window, strict=True)) for window in windows],
        },
    }


def _lines(value: "Any", indent: int) -> str:
    """A tuple as Python source within 99 columns."""
    text = repr(value)
    if not isinstance(value, tuple) or len(text) + indent < 96:
        return text
    pad = " " * (indent + 4)
    return "(\n" + "".join(f"{pad}{_lines(v, indent + 4)},\n" for v in value) + " " * indent + ")"


def module(folder: "str | Path", chemistry: str, table: "tuple") -> str:  # type: ignore[type-arg]
    """The profile as a Python module that a board can import."""
    name = Path(folder).name
    return (
        f'"""Charge windows of {chemistry.upper()} cells, from the recorded cells {name}.\n\n'
        f"Made by ``echelon calibrate --train {name} --chemistry {chemistry} --out FILE.py``;\n"
        f"SHA-256 of the data {data_hash(folder)[:32]}...\n"
        '"""\n\n'
        f"CRC = {table_crc(table)}\n"
        "# marks, mV; taper and rate, permille of rated; full, mV; 0.1 degC; walk and\n"
        "# scatter, bp; and windows, as window.py of the estimators reads them\n"
        f"WINDOWS = {_lines(table, 0)}  # fmt: skip\n"
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate and write the profile."""
    try:
        table = rounded(fit_windows(Seen(load_cells(args.train))))
    except DataError as error:
        print(f"echelon: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    out = Path(args.out)
    if out.suffix == ".py":
        text = module(args.train, args.chemistry, table)
    else:
        text = json.dumps(profile(args.train, args.chemistry, table), indent=1) + "\n"
    try:
        out.write_text(text)
    except OSError as error:
        print(f"echelon: {out}: cannot be written ({error.strerror})", file=sys.stderr)
        return EXIT_USER_ERROR
    for window in table[7]:
        names = [("%d mV" % table[0][i]) if i < len(table[0]) else "taper" for i in window[0]]
        print(f"window {' - '.join(names)}: deviation {window[4] * 100:.2f} SOH points")
    print(f"{out}: {len(table[7])} windows, CRC {table_crc(table):08x}")
    return 0
