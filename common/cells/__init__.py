"""Numbers of kinds of cells, fitted to recorded ones (``echelon calibrate``)."""

from common.ecm import Ecm


def circuit(name: str) -> "Ecm | None":
    """The ``common.ecm.Ecm`` for the cell profile ``name``; ``None`` where none was fitted."""
    if name == "nca":
        from common.cells.nca import ECM  # noqa: PLC0415 - a board loads only its own cell

        return ECM
    return None


def pulse(name: str) -> "tuple | None":  # type: ignore[type-arg]
    """The pulse model for the cell profile ``name``, for boards that read once a second.

    ``firmware.estimators.pulse.PulseModel`` takes it; ``None`` where none was fitted.
    """
    module = _PULSES.get(name)
    if module is None:
        return None
    found = __import__("common.cells." + module, None, None, ("MODEL_SLOW",))
    model: "tuple" = found.MODEL_SLOW  # type: ignore[type-arg]
    return model


_PULSES = {
    "lmo-10ah": "pulse_lmo_10ah",
    "nmc-21ah": "pulse_nmc_21ah",
    "lfp-20ah": "pulse_lfp_20ah_trains",
    "lfp-35ah": "pulse_lfp_35ah",
    "lfp-68ah": "pulse_lfp_68ah_trains",
}
