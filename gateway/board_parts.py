"""What of the firmware the desk's commands need: found by name, as gateway/ does not import it.

The entry points ``echelon.board`` name the modules; ``settings`` judges a pack's settings by the
rules of the board, ``loader`` is the file that every board gets.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gateway.errors import UserError


def board_part(name: str) -> Any:
    """The module ``name``: ``settings`` or ``loader``."""
    for entry in entry_points(group="echelon.board", name=name):
        return entry.load()
    raise UserError(f"echelon: the firmware's {name} is not installed (install echelon-bms anew)")


def loader_source() -> bytes:
    """``loader.py``, as it goes onto boards."""
    return Path(board_part("loader").__file__).read_bytes()
