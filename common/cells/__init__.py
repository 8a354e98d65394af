"""Numbers of kinds of cells, fitted to recorded ones (``echelon calibrate``)."""

from common.ecm import Ecm
from common.profiles import profile


def circuit(name: str) -> "Ecm | None":
    """The equivalent circuit of the cell profile ``name``; ``None`` where none was fitted."""
    return profile(name).circuit


def pulse(name: str) -> "tuple | None":  # type: ignore[type-arg]
    """The pulse model of the cell profile ``name``, for boards that read once a second.

    ``firmware.estimators.pulse.PulseModel`` takes it; ``None`` where none was fitted, or where
    the board was not given the module.
    """
    module = profile(name).pulse
    if module is None:
        return None
    try:
        found = __import__(module, None, None, ("MODEL_SLOW",))
    except ImportError:
        return None
    model: "tuple" = found.MODEL_SLOW  # type: ignore[type-arg]
    return model
