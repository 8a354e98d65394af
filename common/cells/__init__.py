"""Numbers of kinds of cells, fitted to recorded ones (``echelon calibrate``)."""

from common.ecm import Ecm


def circuit(name: str) -> "Ecm | None":
    """The ``common.ecm.Ecm`` for the cell profile ``name``; ``None`` where none was fitted."""
    if name == "nca":
        from common.cells.nca import ECM  # noqa: PLC0415 - a board loads only its own cell

        return ECM
    return None
