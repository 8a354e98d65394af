"""The key of one board: who has it may change its limits, its calibration and its identity."""

from __future__ import annotations

from gateway.errors import UserError, read_file

KEY_BYTES = 32


def read_key(path: str | None) -> bytes:
    """The board's key; ``UserError`` when the file holds none, or none is named."""
    if path is None:
        raise UserError("echelon: set needs the board's key (--key FILE)")
    data = read_file(path)
    if len(data) != KEY_BYTES:
        try:
            data = bytes.fromhex(data.decode())
        except ValueError:
            data = b""
    if len(data) != KEY_BYTES:
        raise UserError(f"echelon: {path}: a key is {KEY_BYTES} bytes, or as many in hex digits")
    return data
