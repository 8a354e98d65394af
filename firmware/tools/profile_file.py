"""A calibrated profile as JSON, for people, and as a Python module that a board imports.

Both hold the same numbers and the same ``crc``: the one by which a board that uses the profile
says so (``ProfCrc``, ``common.profiles.profile_crc``).
"""

import hashlib
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import codes
from common.crc import crc32
from common.ecm import Ecm
from common.profiles import GRID_BP, LIMITS, CellProfile, limits_of, profile_crc
from firmware.tools import fit_ecm
from firmware.tools.fit_ocv import Ocv, read_all

FORMAT = "echelon-cell-profile-2"
_WINDOW_KEYS = ("marks", "centre", "scale", "k", "s", "m", "limit")
_TABLE_KEYS = (
    "marks_mv",
    "taper_permille",
    "rate_permille",
    "full_mv",
    "warm_dc",
    "walk_bp",
    "scatter_bp",
)
_FLAT_MV = 10  # per 1 % of charge
_WIDTH = 95


@dataclass(frozen=True)
class Data:
    """What was calibrated on."""

    name: str
    sha256: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """All that was fitted to a kind of cell; ``None`` where the recordings do not tell.

    ``pulse`` has the models by the names they get in ``pulse_module``.
    """

    name: str
    chemistry: int
    data: Data
    ocv: Ocv
    r_ref_uohm_ah: int
    r_made_of: str
    limits: tuple[tuple[str, int], ...] = ()
    windows: tuple[Any, ...] | None = None
    circuit: Ecm | None = None
    pulse: dict[str, tuple[Any, ...]] | None = None
    pulse_module: str | None = None

    def profile(self) -> CellProfile:
        """The profile as a board has it."""
        return CellProfile(
            name=self.name,
            chemistry=self.chemistry,
            ocv_mv=self.ocv.mv,
            ocv_sigma_mv=self.ocv.sigma_mv,
            flat_bp=flat_bp(self.chemistry, self.ocv.mv),
            r_ref_uohm_ah=self.r_ref_uohm_ah,
            limits=self.limits,
            windows=self.windows,
            windows_crc=0 if self.windows is None else table_crc(self.windows),
            circuit=self.circuit,
            pulse=self.pulse_module,
            pulse_crc=0 if self.pulse is None else table_crc(self.pulse["MODEL_SLOW"]),
        )


def data_of(path: str | Path) -> Data:
    """Name, SHA-256 over names and contents, and cells of the recordings in a folder or file."""
    whole = Path(path)
    digest = hashlib.sha256()
    for file in [whole] if whole.is_file() else sorted(whole.glob("*.npz")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    cells: set[str] = set()
    for z in read_all(path):
        if "cell_id" in z:
            cells.update(str(cell) for cell in z["cell_id"].ravel())
    name = f"{whole.resolve().parent.name}/{whole.name}" if whole.is_file() else whole.name
    return Data(name, digest.hexdigest(), tuple(sorted(cells)))


def rounded(value: Any) -> Any:
    """Numbers with seven digits, as 32-bit floats keep them; tuples all the way down."""
    if isinstance(value, tuple):
        return tuple(rounded(part) for part in value)
    return float("%.7g" % value) if isinstance(value, float) else value


def table_crc(table: tuple[Any, ...]) -> int:
    """What tells one table of windows, or one pulse model, from another."""
    data = repr(table).encode()
    return crc32(data, 0, len(data))


def flat_bp(chemistry: int, ocv_mv: tuple[int, ...]) -> tuple[int, int]:
    """From where to where an LFP cell's voltage tells nearly nothing; none for the others."""
    if chemistry != codes.Chemistry.LFP:
        return 0, 0
    flat = [
        (mv1 - mv0) * 100 < _FLAT_MV * (bp1 - bp0)
        for mv0, mv1, bp0, bp1 in zip(ocv_mv, ocv_mv[1:], GRID_BP, GRID_BP[1:], strict=False)
    ]
    if not any(flat):
        return 0, 0
    first = flat.index(True)
    count = flat[first:].index(False) if False in flat[first:] else len(flat) - first
    return GRID_BP[first], GRID_BP[first + count]


def as_json(fitted: Fitted) -> dict[str, Any]:
    """The profile with all its parts, as it is written to a file."""
    p = fitted.profile()
    found: dict[str, Any] = {
        "format": FORMAT,
        "name": p.name,
        "chemistry": codes.names(codes.Chemistry)[p.chemistry].lower(),
        "crc": profile_crc(p),
        "data": fitted.data.name,
        "data_sha256": fitted.data.sha256,
        "cells": fitted.data.cells,
        "limits": {name: value for (name, _), value in zip(LIMITS, limits_of(p), strict=True)},
        "ocv": {
            "soc_bp": GRID_BP,
            "mv": fitted.ocv.mv,
            "sigma_mv": fitted.ocv.sigma_mv,
            "flat_bp": p.flat_bp,
            "made_of": fitted.ocv.made_of,
        },
        "resistance": {"r_ref_uohm_ah": p.r_ref_uohm_ah, "made_of": fitted.r_made_of},
    }
    if fitted.windows is not None:
        windows = dict(zip(_TABLE_KEYS, fitted.windows, strict=False))
        windows["windows"] = [
            dict(zip(_WINDOW_KEYS, window, strict=True)) for window in fitted.windows[-1]
        ]
        found["charge_windows"] = windows | {"crc": p.windows_crc}
    if fitted.circuit is not None:
        found["circuit"] = fit_ecm.numbers(fitted.circuit) | {"crc": fitted.circuit.crc()}
    if fitted.pulse is not None:
        found["pulse"] = {"crc": p.pulse_crc, "models": fitted.pulse}
    return found


def as_module(fitted: Fitted) -> str:
    """The profile as a Python module."""
    p = fitted.profile()
    names = {value: name for name, value in vars(codes.Chemistry).items() if name.isupper()}
    cells = fitted.data.cells
    many = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    sha = fitted.data.sha256[:32]
    told = [
        f"Made by ``echelon calibrate`` from {fitted.data.name} ({many}), SHA-256 {sha}...",
        f"Rested voltage: {fitted.ocv.made_of}; within {p.ocv_sigma_mv} mV (one deviation).",
        f"Resistance: {fitted.r_made_of}.",
        f"CRC-32 of the profile: {profile_crc(p):08x}.",
    ]
    lines = [f'"""Cell profile {p.name}.', ""]
    for text in told:
        lines += textwrap.wrap(text, _WIDTH)
    lines += ['"""', "", "from common.codes import Chemistry"]
    if fitted.circuit is not None:
        lines.append("from common.ecm import Ecm")
    lines += ["from common.profiles import CellProfile", ""]
    if fitted.windows is not None:
        lines += [
            "# marks, mV; taper and rate, permille of rated; full, mV; 0.1 degC; walk and",
            "# scatter, bp; and windows, as window.py of the estimators reads them",
            f"WINDOWS = {_lines(fitted.windows, 0)}  # fmt: skip",
            "",
        ]
    if fitted.circuit is not None:
        lines += [*fit_ecm.source_lines(fitted.circuit), ""]
    lines += [
        "PROFILE = CellProfile(",
        f'    name="{p.name}",',
        f"    chemistry=Chemistry.{names[p.chemistry]},",
        "    ocv_mv=(",
        *_wrapped(fitted.ocv.mv),
        "    ),",
        f"    ocv_sigma_mv={p.ocv_sigma_mv},",
        f"    flat_bp={p.flat_bp},",
        f"    r_ref_uohm_ah={p.r_ref_uohm_ah},",
    ]
    if fitted.limits:
        inner = ", ".join(f'("{name}", {value})' for name, value in fitted.limits)
        lines.append(f"    limits=({inner},),")
    if fitted.windows is not None:
        lines += ["    windows=WINDOWS,", f"    windows_crc={p.windows_crc},"]
    if fitted.circuit is not None:
        lines.append("    circuit=ECM,")
    if fitted.pulse is not None:
        lines += [f'    pulse="{p.pulse}",', f"    pulse_crc={p.pulse_crc},"]
    return "\n".join([*lines, ")  # fmt: skip", ""])


def pulse_module(fitted: Fitted) -> str:
    """The pulse models as the Python module that the profile names."""
    assert fitted.pulse is not None
    lines = [
        f'"""Pulse models of the cell profile {fitted.name}.',
        "",
        *textwrap.wrap(
            f"Made by ``echelon calibrate`` from the recordings {fitted.data.name}.", 95
        ),
        "``MODEL`` takes a test at any SOC, ``MODEL_AT_HALF`` after half the rated charge from",
        "empty, ``MODEL_SLOW`` any SOC on a board that cannot read within 10 ms of an edge.",
        '"""',
        "",
    ]
    for name, model in fitted.pulse.items():
        lines += [f"{name} = {_lines(model, 0)}  # fmt: skip", ""]
    return "\n".join(lines)


def _wrapped(numbers: tuple[int, ...]) -> list[str]:
    pad = " " * 8
    text = ", ".join(str(number) for number in numbers) + ","
    return textwrap.wrap(text, _WIDTH, initial_indent=pad, subsequent_indent=pad)


def _lines(value: Any, indent: int) -> str:
    """A tuple as Python source within the width."""
    text = repr(value).replace("'", '"')
    if not isinstance(value, tuple) or len(text) + indent < _WIDTH:
        return text
    pad = " " * (indent + 4)
    if any(isinstance(part, tuple) for part in value):
        inner = "".join(f"{pad}{_lines(part, indent + 4)},\n" for part in value)
    else:
        inner = textwrap.fill(text[1:-1] + ",", 99, initial_indent=pad, subsequent_indent=pad)
        inner += "\n"
    return "(\n" + inner + " " * indent + ")"
