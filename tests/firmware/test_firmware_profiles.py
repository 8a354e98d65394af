"""A board loads the profile it is told, one of its own too, and says the hash the desk says."""

import sys

from interpreters import lines

from firmware.settings import Settings, SettingsError

OWN = """
from common.profiles import CellProfile

PROFILE = CellProfile("my-%s", 1, tuple(range(3000, 4040, 40)), 20, (0, 0), 60000, (%s))
"""
LOOSE = '("discharge_c10", 30),'


def test_both_interpreters_say_the_same_of_every_profile(root, tmp_path, micropython):
    cells = tmp_path / "cells"
    cells.mkdir()
    (cells / "my_cell.py").write_text(OWN % ("cell", ""), encoding="utf-8")
    (cells / "my_loose.py").write_text(OWN % ("loose", LOOSE), encoding="utf-8")
    told = lines(micropython, "own_profile.py", root, tmp_path)
    assert told == lines(sys.executable, "own_profile.py", root, tmp_path)
    assert "discharge_c10 30 is looser than 20" in told[-1]


def test_a_pack_with_a_profile_of_its_own_starts_within_its_limits(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cells").mkdir()
    text = OWN % ("tight", '("cell_max_mv", 4150), ("cell_full_mv", 4100),')
    (tmp_path / "cells" / "my_tight.py").write_text(text, encoding="utf-8")
    pack = {"serial": "P1", "n_cells": 14, "profile": "my-tight", "rated_mah": 50000}
    try:
        assert Settings.from_dict(pack).cov_mv == 4150
        assert "cov_mv 4200 is above 4150" in _refused({**pack, "cov_mv": 4200})
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "cells"]:
            del sys.modules[name]


def _refused(pack):
    try:
        Settings.from_dict(pack)
    except SettingsError as error:
        return str(error)
    return ""
