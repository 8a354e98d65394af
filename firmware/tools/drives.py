"""Recorded drives of a cell with a reference state of charge, brought to bins of one second."""

import os
from typing import TypedDict

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Drive(TypedDict):
    """One test; the arrays are of one length."""

    t_s: Array
    current_a: Array
    voltage_v: Array
    temperature_c: Array
    ah: Array  # the charge counter
    soc: Array  # the reference
    group: float  # temperature the test belongs to
    capacity_ah: float


class DataError(Exception):
    """A folder or file that cannot be used; one line."""


def _load(path: str) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable npz file ({error})") from error


def _seconds(data: dict[str, npt.NDArray[np.generic]], name: str) -> Drive:
    """A test in bins of a second: means, with the time and charge counter of the bin's end."""
    t_s = data["t_s"].astype(float)
    first = np.unique(np.floor(t_s), return_index=True)[1]
    count = np.diff(np.append(first, len(t_s)))
    bins: dict[str, Array] = {}
    for key in ("t_s", "current_a", "voltage_v", "temperature_c", "ah", "soc_ref"):
        if key in data:
            bins[key] = np.add.reduceat(data[key].astype(float), first) / count
    warm = bins.get("temperature_c", np.full(len(first), 25.0))
    dt = np.diff(bins["t_s"], prepend=bins["t_s"][0] - 1)
    return {
        "t_s": bins["t_s"],
        "current_a": bins["current_a"],
        "voltage_v": bins["voltage_v"],
        "temperature_c": warm,
        "ah": bins.get("ah", np.cumsum(bins["current_a"] * dt) / 3600),
        "soc": bins["soc_ref"],
        "group": _group_c(name, float(np.median(warm))),
        "capacity_ah": float(data.get("q_ref_ah", data["nominal_ah"])),
    }


def _group_c(name: str, warm_c: float) -> float:
    """Temperature a test belongs to: of its name (``n10C_...``) if the cell was near it."""
    try:
        named = float(name.split("_", maxsplit=1)[0].rstrip("C").replace("n", "-"))
    except ValueError:
        return 25.0
    return named if abs(named - warm_c) < 15 else 25.0  # a name like 4C_ is a rate


class Folder:
    """The tests of one folder, and what its cells' OCV is."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        self.slow: Drive | None = None
        self.branches: dict[str, Array] | None = None
        self.tests: dict[str, Drive] = {}
        for name in names:
            if not name.endswith(".npz"):
                continue
            data = _load(os.path.join(path, name))
            if name.startswith("ocv_curve"):
                self.branches = {key: data[key].astype(float) for key in data if "v" in key}
                self.branches["soc"] = data["soc"].astype(float)
            elif {"t_s", "current_a", "voltage_v", "soc_ref"} <= set(data):
                test = _seconds(data, name)
                if "C20_OCV" in name:
                    self.slow = test
                else:
                    self.tests[name[:-4]] = test

    def capacity_ah(self) -> float:
        """The capacity of which ``soc`` is the share."""
        for test in self.tests.values():
            return test["capacity_ah"]
        raise DataError(f"{self.path}: no test with time, current, voltage and soc_ref in it")

    def drives(self) -> list[str]:
        """Names of the tests that are drives."""
        return [name for name in self.tests if "HPPC" not in name]


def cut(test: Drive, keep: slice | Mask) -> Drive:
    """The part of a test chosen by a slice or mask."""
    return {
        "t_s": test["t_s"][keep],
        "current_a": test["current_a"][keep],
        "voltage_v": test["voltage_v"][keep],
        "temperature_c": test["temperature_c"][keep],
        "ah": test["ah"][keep],
        "soc": test["soc"][keep],
        "group": test["group"],
        "capacity_ah": test["capacity_ah"],
    }
