"""Images of the firmware, as files: packed, signed, read. ``firmware.loader`` has the format.

An image holds all files of a folder: what ``make firmware`` has compiled for a kind of board, or
source. It is signed with the fleet's private key, of which the boards have the public half:
``update.key``. RSASSA-PKCS1-v1_5 with SHA-256 and 3072 bits; ``firmware.rsa`` says why.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from common.profiles import module_name
from gateway.errors import UserError, read_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# The board's side has the same (``firmware.loader``), and a test holds them to each other.
MAGIC = b"ECHELON1"
HEADER = "<8sBBHBBHHHL32s16s16s"
HEADER_BYTES = 128
SIGNATURE_BYTES = 384
FIRST_BYTES = HEADER_BYTES + SIGNATURE_BYTES

KEY_BITS = 8 * SIGNATURE_BYTES
EXPONENT = 65537
MOST_BYTES = 0xFFFFFF
# What ``sys.implementation._mpy`` is where mpy-cross 1.25 to 1.29 compiles for: version 6.3.
INTERPRETERS = {"source": 0, "armv6m": 0x1306, "armv7emsp": 0x1F06, "xtensawin": 0x2B06}
SUFFIXES = (".mpy", ".py")


@dataclass(frozen=True)
class ImageFile:
    """What an image says of itself."""

    version: tuple[int, int, int]
    interpreter: int
    afe: str
    board: str
    n_files: int
    sha256: bytes
    size: int  # of the whole file
    modules: frozenset[str]  # like common.cells.nca

    @classmethod
    def read(cls, data: bytes, path: str) -> ImageFile:
        """``UserError`` when ``data``, of the file ``path``, is no whole image."""
        header = struct.unpack_from(HEADER, data) if len(data) >= FIRST_BYTES else (b"",)
        if header[:2] != (MAGIC, 1):
            raise UserError(f"echelon: {path}: not an image (make one with echelon image make)")
        size = FIRST_BYTES + header[9]
        body = data[FIRST_BYTES:]
        if len(data) != size or hashlib.sha256(body).digest() != header[10]:
            raise UserError(f"echelon: {path}: damaged: its SHA-256 does not fit (copy it again)")
        afe, board = (name.rstrip(b"\0").decode() for name in header[11:])
        table = data[FIRST_BYTES : FIRST_BYTES + header[8]].decode().split("\n")[1:-1]
        modules = frozenset(line.split()[0].rpartition(".")[0].replace("/", ".") for line in table)
        return cls(header[4:7], header[3], afe, board, header[7], header[10], size, modules)

    @property
    def version_text(self) -> str:
        """Like 0.2.0."""
        return ".".join(str(part) for part in self.version)


def pack(
    files: Mapping[str, bytes],
    version: tuple[int, int, int],
    interpreter: int,
    key: rsa.RSAPrivateKey,
    *,
    afe: str = "",
    board: str = "",
) -> bytes:
    """An image of ``files`` (path: content), signed. The same input gives the same bytes."""
    table = b"\n"
    data = b""
    for name in sorted(files):
        table += b"%s %06x %06x\n" % (name.encode(), len(data), len(files[name]))
        data += files[name]
    body = table + data + b"\n" * (len(table + data) % 2)  # registers have two bytes
    header = struct.pack(
        HEADER,
        MAGIC,
        1,
        0,
        interpreter,
        *version,
        len(files),
        len(table),
        len(body),
        hashlib.sha256(body).digest(),
        afe.encode(),
        board.encode(),
    ).ljust(HEADER_BYTES, b"\0")
    return header + key.sign(header, padding.PKCS1v15(), hashes.SHA256()) + body


def public_bytes(key: rsa.RSAPrivateKey) -> bytes:
    """The modulus, as a board's ``update.key`` holds it."""
    return key.public_key().public_numbers().n.to_bytes(SIGNATURE_BYTES, "big")


def is_signed(data: bytes, modulus: bytes) -> bool:
    """Whether an image was signed with the private half of a board's ``update.key``."""
    public = rsa.RSAPublicNumbers(EXPONENT, int.from_bytes(modulus, "big")).public_key()
    header = data[:HEADER_BYTES]
    signature = data[HEADER_BYTES:FIRST_BYTES]
    try:
        public.verify(signature, header, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def read_private_key(path: str) -> rsa.RSAPrivateKey:
    """The fleet's key; ``UserError`` when the file holds none."""
    data = read_file(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (TypeError, ValueError) as error:
        raise UserError(f"echelon: {path}: no private key in PEM without a password") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != KEY_BITS:
        raise UserError(f"echelon: {path}: not an RSA key of {KEY_BITS} bits (echelon image key)")
    return key


def read_public_key(path: str) -> bytes:
    """The modulus in a board's ``update.key``; ``UserError`` when the file holds none."""
    data = read_file(path)
    try:
        modulus = bytes.fromhex(data.decode()) if len(data) != SIGNATURE_BYTES else data
    except ValueError:
        modulus = b""
    if len(modulus) != SIGNATURE_BYTES or modulus[0] < 0x80:
        raise UserError(f"echelon: {path}: not the public half of a fleet's key (update.key)")
    return modulus


def folder_files(folder: Path, cells: Collection[str] = ()) -> dict[str, bytes]:
    """The firmware in ``folder``: ``common`` and ``firmware``, compiled or source.

    Of the cell profiles only those called ``cells``, if there are any; all else.
    """
    if not (folder / "firmware").is_dir() or not (folder / "common").is_dir():
        raise UserError(
            f"echelon: {folder}: no firmware/ and common/ in it (make firmware compiles them)"
        )
    wanted = {module_name(name) for name in cells} | {"__init__"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("common", "firmware")
        for path in sorted((folder / part).rglob("*"))
        if path.suffix in SUFFIXES
        and "tools" not in path.relative_to(folder).parts
        and (not cells or path.parent != folder / "common" / "cells" or path.stem in wanted)
    }


def parse_version(text: str) -> tuple[int, int, int]:
    """``"0.2.0"`` in numbers; ``UserError`` when it is not such a one."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,5})", text)
    version = tuple(int(part) for part in found.groups()) if found else ()
    if len(version) != 3 or max(version[:2]) > 255 or version[2] > 0xFFFF:
        raise UserError(f"echelon: version {text!r} is not like 0.2.0")
    return version[0], version[1], version[2]
