"""``echelon calibrate``: makes a cell profile from recorded cells.

Every part is fitted that the recordings tell: rested voltage, charge windows, equivalent circuit,
pulse model, reference of the resistance. What they do not tell comes from the base profile.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from common import codes
from common.ecm import Ecm
from common.profiles import GRID_BP, NAMES, CellProfile, module_name, profile, profile_crc
from firmware.tools import drives, fit_ecm, fit_pulse
from firmware.tools.datasets import DataError, load_cells
from firmware.tools.fit_ocv import Ocv, fit_ocv, of_circuit, read_all
from firmware.tools.fit_reference import fit_reference
from firmware.tools.fit_windows import Seen, fit_windows
from firmware.tools.profile_file import Fitted, as_json, as_module, data_of, pulse_module, rounded

HELP = "makes a cell profile from recorded cells"
EXIT_USER_ERROR = 2
PARTS = ("ocv", "windows", "circuit", "pulse", "resistance")
_GENERIC = ("nmc", "lfp", "lco", "nca", "lmo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--train", required=True, metavar="DIR", help="folder of recorded cells, or one .npz file"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="profile.json, or a .py for a board"
    )
    parser.add_argument(
        "--chemistry", choices=_GENERIC, help="default: the one whose rested voltage is nearest"
    )
    parser.add_argument(
        "--base", choices=NAMES, metavar="PROFILE",
        help="where what was not recorded comes from (default: that of the chemistry)",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], choices=PARTS, metavar="PART",
        help=f"do not fit this part ({', '.join(PARTS)})",
    )  # fmt: skip


_T = TypeVar("_T")


class Calibration:
    """Fits all parts of one kind of cell; ``notes`` say of each what it was made of or lacks."""

    def __init__(self, path: "str | Path", base: CellProfile, without: "list[str]") -> None:
        self.path = Path(path)
        self.base = base
        self.notes: dict[str, str] = {}
        self.found = 0
        self._without = without

    def fit(
        self, name: str, limits: "tuple[tuple[str, int], ...]" = (), package: str = "cells"
    ) -> Fitted:
        """The profile; ``DataError`` where the recordings tell no part of one."""
        circuit = self._try("circuit", self._circuit)
        ocv = self._try("ocv", lambda: self._ocv(circuit))
        windows = self._try("windows", self._windows)
        pulse = self._try("pulse", self._pulse)
        reference = self._try("resistance", lambda: self._reference(circuit))
        if not self.found:
            told = "; ".join(f"{part}: {note}" for part, note in self.notes.items())
            raise DataError(f"{self.path}: tells no part of a cell profile ({told})")
        base = self.base
        from_base = f"that of the profile {base.name}"
        if name == base.name:
            from_base = "what is usual for such cells"
        if ocv is None:
            ocv = Ocv(
                tuple(base.ocv_mv), 2 * base.ocv_sigma_mv, from_base + ", of twice its error"
            )
        return Fitted(
            name=name,
            chemistry=base.chemistry,
            data=data_of(self.path),
            ocv=ocv,
            r_ref_uohm_ah=base.r_ref_uohm_ah if reference is None else reference[0],
            r_made_of=from_base if reference is None else reference[1],
            limits=limits,
            windows=windows,
            circuit=circuit,
            pulse=pulse,
            pulse_module=None if pulse is None else f"{package}.pulse_{module_name(name)}",
        )

    def _try(self, part: str, make: "Callable[[], tuple[_T, str]]") -> "_T | None":
        if part in self._without:
            self.notes[part] = "not wanted"
            return None
        try:
            made, self.notes[part] = make()
        except (DataError, drives.DataError) as error:
            self.notes[part] = f"not fitted ({error})"
            return None
        self.found += 1
        return made

    def _circuit(self) -> "tuple[Ecm, str]":
        if self.path.is_file():
            raise DataError("one file is no folder of drives")
        ecm = fit_ecm.calibrate(str(self.path))
        return ecm, f"equivalent circuit, CRC {ecm.crc():08x}; try it with: echelon validate soc"

    def _ocv(self, circuit: "Ecm | None") -> "tuple[Ocv, str]":
        try:
            found = fit_ocv(self.path, self.base)
        except DataError:
            if circuit is None:
                raise
            found = of_circuit(circuit, self.base.ocv_sigma_mv)
        return found, f"{found.made_of}; within {found.sigma_mv} mV"

    def _windows(self) -> "tuple[tuple[object, ...], str]":
        table = rounded(fit_windows(Seen(load_cells(self.path))))
        told = []
        for window in table[-1]:
            names = [("%d mV" % table[0][i]) if i < len(table[0]) else "taper" for i in window[0]]
            typical = float(window[4] ** 2 + window[5][0]) ** 0.5  # at the centre of the charges
            told.append(f"{' - '.join(names)} within {typical * 100:.2f} SOH points")
        return table, "; ".join(told)

    def _pulse(self) -> "tuple[dict[str, tuple[object, ...]], str]":
        folder = self.path.parent if self.path.is_file() else self.path
        try:
            sets = fit_pulse.load(folder)
        except ValueError as error:
            raise DataError(error) from error
        if self.path.is_file():
            stem = self.path.stem
            sets = {name: one for name, one in sets.items() if name in (stem, f"{stem}_trains")}
        if len(sets) != 1:
            raise DataError(f"{len(sets)} kinds of cells in it ({', '.join(sets)}): name one file")
        pulses = next(iter(sets.values()))
        models = {key: rounded(made.data) for key, made in fit_pulse.models(pulses).items()}
        return models, f"map for {pulses.rated_mah} mAh from {len(set(pulses.cell))} cells"

    def _reference(self, circuit: "Ecm | None") -> "tuple[tuple[int, str], str]":
        if circuit is not None:
            found = of_step(circuit), "the circuit's, over 1 s at half charge"
        else:
            found = fit_reference(self.path, self.base)
        return found, f"{found[0]} uohm Ah: {found[1]}"


def of_step(ecm: Ecm) -> int:
    """Resistance over 1 s at 25 degC and half charge, micro-ohm Ah, of a circuit."""
    total = 0.0
    for table, tau_ms in ((ecm.r0, 0), (ecm.r1, ecm.tau1_ms), (ecm.r2, ecm.tau2_ms)):
        rows = np.array(table).reshape(len(ecm.r_soc_bp), len(ecm.r_dc))
        warm = [float(np.interp(250, ecm.r_dc, row)) for row in rows]
        share = 1.0 if tau_ms == 0 else 1 - float(np.exp(-1000 / tau_ms))
        total += share * float(np.interp(5000, ecm.r_soc_bp, warm))
    return round(total / 100) * 100


def nearest(path: "str | Path") -> str:
    """The chemistry whose generic profile rests nearest to what was recorded."""
    middle = slice(GRID_BP.index(1000), GRID_BP.index(9000) + 1)
    bases = [profile(name) for name in _GENERIC]
    try:
        found = [fit_ocv(path, base).mv for base in bases]
    except DataError as error:
        try:
            found = [of_circuit(fit_ecm.calibrate(str(path)), 0).mv] * len(bases)
        except drives.DataError:
            raise error from None
    off = [
        float(np.sqrt(np.mean((np.array(mv) - np.array(base.ocv_mv))[middle] ** 2)))
        for mv, base in zip(found, bases, strict=True)
    ]
    return _GENERIC[int(np.argmin(off))]


def run(args: argparse.Namespace) -> int:
    """Calibrate, write the profile, and say what each part was made of."""
    out = Path(args.out)
    try:
        name = _name(out)
        base = _base(args.train, args.chemistry, args.base)
        work = Calibration(args.train, base, args.without)
        fitted = work.fit(name)
        written = _write(fitted, out)
    except OSError as error:
        print(f"echelon: {out}: cannot be written ({error.strerror})", file=sys.stderr)
        return EXIT_USER_ERROR
    except ValueError as error:
        print(f"echelon: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    told = "" if args.chemistry or args.base else " (nearest; --chemistry says otherwise)"
    print(f"chemistry: {_chemistry(base)}{told}")
    for part in PARTS:
        print(f"{part}: {work.notes[part]}")
    print(f"{', '.join(written)}: CRC {profile_crc(fitted.profile()):08x}")
    return 0


def _name(out: Path) -> str:
    name = out.stem.lower().replace("_", "-")
    if out.suffix == ".py" and (module_name(name) != out.stem or name in NAMES):
        raise DataError(f"{out}: a profile of that name cannot be imported (choose another)")
    return name


def _one_kind(train: str) -> None:
    rated_ah = {round(float(z["nominal_ah"]), 2) for z in read_all(train) if "nominal_ah" in z}
    if len(rated_ah) > 1:
        told = ", ".join(f"{ah:g}" for ah in sorted(rated_ah))
        raise DataError(f"{train}: holds several kinds of cells ({told} Ah): name one file of it")


def _base(train: str, chemistry: "str | None", name: "str | None") -> CellProfile:
    base = None if name is None else profile(name)
    if base is not None and chemistry not in (None, _chemistry(base)):
        raise DataError(f"--base {name} is {_chemistry(base)}, not {chemistry}")
    _one_kind(train)
    return base or profile(chemistry or nearest(train))


def _chemistry(base: CellProfile) -> str:
    return codes.names(codes.Chemistry)[base.chemistry].lower()


def _write(fitted: Fitted, out: Path) -> "list[str]":
    if out.suffix != ".py":
        out.write_text(json.dumps(as_json(fitted), indent=1) + "\n", encoding="utf-8")
        return [str(out)]
    out.write_text(as_module(fitted), encoding="utf-8")
    written = [str(out)]
    if fitted.pulse is not None:
        beside = out.with_name(f"pulse_{out.name}")
        beside.write_text(pulse_module(fitted), encoding="utf-8")
        written.append(str(beside))
    return written
