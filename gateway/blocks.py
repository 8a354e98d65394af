"""Whether the bytes of a block are what they claim to be, and their meaning.

Every block of ours says which model it is and how long, whose it is (CRC-32 of the serial
number), and carries its sequence at both ends. A block is decoded only when all of it fits.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.registers import Layout

Decoded = dict[str, Any]


class WrongBlockError(Exception):
    """The bytes are not this block of this pack; what is known of the pack may be out of date."""


class TornBlockError(Exception):
    """The block changed while it was read: read it again."""


class NotReadyError(Exception):
    """The pack has not filled this block since it started."""


def serial_crc(serial: str) -> int:
    """What stands in ``SnCrc`` of every block of the pack with this serial number."""
    return zlib.crc32(serial.encode())


def decode_block(layout: Layout, data: bytes, serial: str) -> Decoded:
    """The block in its units, checked; see the errors above."""
    block = decode_whole(layout, data, serial)
    if not is_filled(block):
        raise NotReadyError(f"{layout.label}: nothing measured yet")
    return block


def is_filled(block: Decoded) -> bool:
    """Whether the pack has written the block since it started."""
    return block["Seq"] is not None and block.get("Boot", 0) is not None


def decode_whole(layout: Layout, data: bytes, serial: str) -> Decoded:
    """The block in its units, of one piece and of this pack, but perhaps not filled yet."""
    try:
        block = layout.decode(data)
    except ValueError as error:
        raise WrongBlockError(str(error)) from error
    sequence, sequence_end, owner = block["Seq"], block["SeqEnd"], block["SnCrc"]
    if sequence != sequence_end:
        raise TornBlockError(f"{layout.label}: sequence {sequence} begins and {sequence_end} ends")
    if owner != serial_crc(serial) or block.get("SnEnd", owner) != owner:
        raise WrongBlockError(f"{layout.label}: not of the pack {serial}")
    if layout.n_cells and block["NCell"] != layout.n_cells:
        raise WrongBlockError(
            f"{layout.label}: {block['NCell']} cells where {layout.n_cells} are expected"
        )
    return block
