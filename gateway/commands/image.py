"""``echelon image``: makes and signs what ``echelon flash`` sends to boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from common import __version__
from common.profiles import NAMES, module_name
from gateway.errors import UserError, read_file, reason
from gateway.update_image import (
    EXPONENT,
    INTERPRETERS,
    KEY_BITS,
    MOST_BYTES,
    ImageFile,
    folder_files,
    is_signed,
    pack,
    parse_version,
    public_bytes,
    read_private_key,
    read_public_key,
)

if TYPE_CHECKING:
    import argparse

HELP = "makes and signs an image of the firmware for echelon flash"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", help="packs the files of a folder and signs them")
    make.add_argument("folder", metavar="FOLDER", help="like build/firmware/armv6m/bq76952")
    make.add_argument("--key", metavar="FILE", required=True, help="the fleet's private key")
    make.add_argument(
        "--for", dest="interpreter", choices=INTERPRETERS, required=True, help="compiled for"
    )
    make.add_argument("--afe", default="", help="only for boards with this one, like bq76952")
    make.add_argument("--board", default="", help="only for this port, like rp2")
    make.add_argument(
        "--cells", action="append", default=[], choices=NAMES, metavar="PROFILE",
        help="only with this cell profile (may be given again; all take 13 kB)",
    )  # fmt: skip
    make.add_argument("--version", default=__version__, help=f"of the firmware ({__version__})")
    make.add_argument("-o", "--output", metavar="FILE", required=True, help="the image")
    key = actions.add_parser("key", help="makes a new fleet's key")
    key.add_argument("path", metavar="FILE", help="for the private half; FILE.pub is for boards")
    show = actions.add_parser("show", help="says what an image is")
    show.add_argument("image", metavar="IMAGE")
    show.add_argument("--key", metavar="FILE", help="an update.key: check the signature with it")


def _make(args: argparse.Namespace) -> int:
    version = parse_version(args.version)
    key = read_private_key(args.key)
    files = folder_files(Path(args.folder), args.cells)
    interpreter = INTERPRETERS[args.interpreter]
    data = pack(files, version, interpreter, key, afe=args.afe, board=args.board)
    if len(data) > MOST_BYTES:
        raise UserError(f"echelon: {args.folder}: {len(data)} bytes are more than an image holds")
    try:
        Path(args.output).write_bytes(data)
    except OSError as error:
        raise UserError(f"echelon: {args.output}: {reason(error)}") from error
    return _say(data, args.output)


def _say(data: bytes, path: str) -> int:
    image = ImageFile.read(data, path)
    name = {number: name for name, number in INTERPRETERS.items()}.get(image.interpreter, "?")
    cells = [cell for cell in NAMES if f"common.cells.{module_name(cell)}" in image.modules]
    what = " ".join(part for part in (name, image.afe, image.board) if part)
    print(f"{path}: version {image.version_text} for {what}: {image.n_files} files, ", end="")
    print(f"{image.size / 1000:.1f} kB, SHA-256 {image.sha256.hex()}")
    print(f"cells: {', '.join(cells) or 'none'}")
    return 0


def _new_key(path: Path) -> int:
    public = path.with_name(path.name + ".pub")
    key = rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(pem)
        public.write_text(public_bytes(key).hex() + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"echelon: {error.filename}: {reason(error)}") from error
    print(f"{path}: the private key: keep it where images are signed, and nowhere else")
    print(f"{public}: its public half: goes onto each board as update.key")
    return 0


def run(args: argparse.Namespace) -> int:
    """Make, show or key; exit code 1 when a signature does not fit."""
    if args.action == "make":
        return _make(args)
    if args.action == "key":
        return _new_key(Path(args.path))
    data = read_file(args.image)
    _say(data, args.image)
    if args.key and not is_signed(data, read_public_key(args.key)):
        print("NOT signed with this fleet's key")
        return 1
    if args.key:
        print("signed with this fleet's key")
    return 0
