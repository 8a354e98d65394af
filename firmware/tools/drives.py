"""Recorded drives of a cell with a reference state of charge, brought to bins of one second."""

import os

import numpy as np


class DataError(Exception):
    """A folder or file that cannot be used; one line."""


def _load(path):
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable npz file ({error})") from error


def _seconds(data, name):
    """A test in bins of a second: means, with the time and charge counter of the bin's end."""
    t_s = data["t_s"].astype(float)
    first = np.unique(np.floor(t_s), return_index=True)[1]
    count = np.diff(np.append(first, len(t_s)))
    test = {}
    for key in ("t_s", "current_a", "voltage_v", "temperature_c", "ah", "soc_ref"):
        if key in data:
            test[key] = np.add.reduceat(data[key].astype(float), first) / count
    n = len(first)
    test["soc"] = test.pop("soc_ref")
    test.setdefault("temperature_c", np.full(n, 25.0))
    dt = np.diff(test["t_s"], prepend=test["t_s"][0] - 1)
    test.setdefault("ah", np.cumsum(test["current_a"] * dt) / 3600)
    test["group"] = _group_c(name, float(np.median(test["temperature_c"])))
    test["capacity_ah"] = float(data.get("q_ref_ah", data["nominal_ah"]))
    return test


def _group_c(name, warm_c):
    """Temperature a test belongs to: of its name (``n10C_...``) if the cell was near it."""
    try:
        named = float(name.split("_")[0].rstrip("C").replace("n", "-"))
    except ValueError:
        return 25.0
    return named if abs(named - warm_c) < 15 else 25.0  # a name like 4C_ is a rate


class Folder:
    """The tests of one folder, and what its cells' OCV is."""

    def __init__(self, path):
        self.path = path
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        self.slow = self.branches = None
        self.tests = {}
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

    def capacity_ah(self):
        """The capacity of which ``soc`` is the share."""
        for test in self.tests.values():
            return test["capacity_ah"]
        raise DataError(f"{self.path}: no test with time, current, voltage and soc_ref in it")

    def drives(self):
        """Names of the tests that are drives."""
        return [name for name in self.tests if "HPPC" not in name]


def cut(test, keep):
    """The part of a test chosen by a slice or mask."""
    return {k: v[keep] if isinstance(v, np.ndarray) else v for k, v in test.items()}
