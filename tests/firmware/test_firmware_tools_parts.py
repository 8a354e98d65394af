"""The parts of ``echelon calibrate`` where recordings tell less, and the profiles that ship."""

import importlib
import sys

import numpy as np
import pytest
from made_recordings import (
    GRID,
    RATED_AH,
    ocv_v,
    write_curves,
    write_cycles,
    write_drives,
    write_flat_drive,
    write_pulses,
    write_steps,
    write_trains,
)

from common import codes
from common.profiles import GRID_BP, profile
from firmware.tools import fit_pulse, ship
from firmware.tools.calibrate import Calibration, nearest
from firmware.tools.datasets import DataError
from firmware.tools.drives import Folder
from firmware.tools.fit_ecm import Fit
from firmware.tools.fit_ocv import fit_ocv, read_all
from firmware.tools.fit_reference import fit_reference
from firmware.tools.profile_file import as_module, data_of, flat_bp

INNER = (GRID >= 0.1) & (GRID <= 0.9)


def off_mv(found):
    return np.abs(np.array(found.mv) - 1000 * ocv_v(GRID))[INNER].max()


def spoil(path, **arrays):
    with np.load(path) as data:
        new = {**data, **arrays}
    np.savez(path, **{name: value for name, value in new.items() if value is not None})


# --- rested voltage ---------------------------------------------------------------------------


def test_charge_curves_alone_tell_it_less_half_the_resistance(tmp_path):
    base = profile("lco")
    write_curves(tmp_path, "A", ohm=base.r_ref_uohm_ah / 2e6)
    write_curves(tmp_path, "B", ohm=base.r_ref_uohm_ah / 2e6, worn=0.5)
    found = fit_ocv(tmp_path, base)
    assert found.sigma_mv >= base.r_ref_uohm_ah / 2000
    assert off_mv(found) <= found.sigma_mv
    assert "charge curves at 1C of 2 cells" in found.made_of


def test_rests_are_taken_less_the_hysteresis_that_the_base_knows(tmp_path):
    write_pulses(tmp_path)
    plain = fit_ocv(tmp_path, profile("lfp"))
    known = fit_ocv(tmp_path, profile("lfp-1.2ah"))
    at = GRID_BP.index(3000)
    assert known.mv[at] < plain.mv[at]


def test_rests_of_trains_are_used_as_those_of_single_tests(tmp_path):
    write_trains(tmp_path)
    found = fit_ocv(tmp_path, profile("lco"))
    seen = (GRID >= 0.35) & (GRID <= 0.5)
    assert np.abs(np.array(found.mv) - 1000 * ocv_v(GRID))[seen].max() < 10


def test_no_current_and_cycles_that_were_not_full_tell_no_voltage(tmp_path):
    write_cycles(tmp_path, "A", fade=0.0, cycles=2)
    with np.load(tmp_path / "A.npz") as data:
        current_a = data["current_a"]
    spoil(tmp_path / "A.npz", current_a=np.zeros(len(current_a)))
    with pytest.raises(DataError, match="no branches, full cycles or rests"):
        fit_ocv(tmp_path, profile("lco"))
    spoil(tmp_path / "A.npz", current_a=current_a, nominal_ah=np.array(10 * RATED_AH))
    with pytest.raises(DataError, match="no branches, full cycles or rests"):
        fit_ocv(tmp_path, profile("lco"))


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"c\.npz: cannot be read"):
        read_all(tmp_path)


# --- reference of the resistance --------------------------------------------------------------


def test_the_tester_s_own_resistance_is_that_of_early_cycles(tmp_path):
    ohm = np.linspace(0.050, 0.090, 40)
    ohm[0] = np.nan
    np.savez(tmp_path / "t.npz", nominal_ah=np.array(2.0), internal_resistance_ohm=ohm)
    uohm_ah, told = fit_reference(tmp_path, profile("lco"))
    assert uohm_ah == pytest.approx(0.051 * 2e6, rel=0.01)
    assert "tester" in told


def test_short_pulses_of_trains_are_a_step_of_one_second(tmp_path):
    write_trains(tmp_path, ohm_ah=0.08)
    uohm_ah, _told = fit_reference(tmp_path, profile("lco"))
    assert uohm_ah == pytest.approx(0.8 * 80000, rel=0.06)  # of the width of 1 s


def test_only_recordings_near_25_degrees_with_steps_tell_it(tmp_path):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    write_steps(tmp_path / "still_25C.npz", 0.001, still=True)
    write_steps(tmp_path / "unsaid.npz", 0.002)
    write_steps(tmp_path / "cold.npz", 0.003, temperature_c=np.full(800, 10.0))
    with pytest.raises(DataError, match="no steps of the current near 25 degC"):
        fit_reference(tmp_path, profile("lmo"))
    write_steps(tmp_path / "short_25C.npz", 0.001, seconds=17)
    write_steps(tmp_path / "leaf_25C.npz", 0.001)
    write_steps(tmp_path / "warm.npz", 0.001, temperature_c=np.full(800, 24.0))
    uohm_ah, told = fit_reference(tmp_path, profile("lmo"))
    assert uohm_ah == pytest.approx(33100, rel=0.05)
    assert "leaf_25C, warm" in told
    one, _told = fit_reference(tmp_path / "leaf_25C.npz", profile("lmo"))
    assert one == pytest.approx(33100, rel=0.05)


# --- the parts together -----------------------------------------------------------------------


def test_what_was_not_wanted_comes_from_the_base(tmp_path):
    write_pulses(tmp_path)
    base = profile("lco")
    file = tmp_path / "made_10ah.npz"
    work = Calibration(file, base, ["ocv", "windows", "pulse"])
    made = work.fit("mine")
    assert made.ocv.mv == tuple(base.ocv_mv)
    assert made.ocv.sigma_mv == 2 * base.ocv_sigma_mv
    assert work.notes["circuit"] == "not fitted (one file is no folder of drives)"
    assert (made.pulse, made.windows) == (None, None)
    assert data_of(file).name == f"{tmp_path.name}/made_10ah.npz"


def test_one_file_of_a_folder_has_one_kind_of_cell(tmp_path, monkeypatch):
    for name in ("COPIES", "REPEATS"):
        monkeypatch.setattr(fit_pulse, name, 1)
    write_pulses(tmp_path)
    write_trains(tmp_path, "other_10ah")
    without = ["ocv", "windows", "resistance"]
    whole = Calibration(tmp_path, profile("lco"), without)
    with pytest.raises(DataError, match="2 kinds of cells in it"):
        whole.fit("mine")
    one = Calibration(tmp_path / "made_10ah.npz", profile("lco"), without)
    assert one.fit("mine").pulse_module == "cells.pulse_mine"
    assert "map for 10000 mAh from 16 cells" in one.notes["pulse"]


def test_the_nearest_chemistry_is_found_from_drives_too(tmp_path):
    write_drives(tmp_path)
    assert nearest(tmp_path) == "lco"


def test_recordings_of_something_else_have_no_nearest_chemistry(tmp_path):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    with pytest.raises(DataError, match="no branches, full cycles or rests"):
        nearest(tmp_path)
    assert data_of(tmp_path).cells == ()


def test_a_circuit_is_the_same_when_it_is_asked_for_again(tmp_path):
    write_drives(tmp_path)
    fit = Fit(Folder(str(tmp_path)))
    assert fit.without(()).crc() == fit.without(()).crc() != fit.without(("25C_one",)).crc()


def test_a_flat_cell_s_circuit_has_hysteresis(tmp_path):
    write_flat_drive(tmp_path)
    made = Calibration(tmp_path, profile("lfp"), []).fit("mine")
    assert made.circuit.hysteresis_bp == 500
    assert made.circuit.half_dmv[20] == pytest.approx(90, abs=1)


# --- the file ---------------------------------------------------------------------------------


def test_a_plateau_is_where_an_lfp_cell_s_voltage_stands_still():
    lfp = codes.Chemistry.LFP
    steep = tuple(range(3000, 3000 + 50 * len(GRID_BP), 50))
    assert flat_bp(lfp, steep) == (0, 0)
    assert flat_bp(codes.Chemistry.NMC, (3300,) * len(GRID_BP)) == (0, 0)
    assert flat_bp(lfp, (3300,) * len(GRID_BP)) == (GRID_BP[0], GRID_BP[-1])
    middle = (*steep[:5], *(steep[4] + k for k in range(1, 11)))
    middle += tuple(steep[4] + 10 + 50 * k for k in range(1, len(GRID_BP) - 14))
    assert flat_bp(lfp, middle) == (GRID_BP[4], GRID_BP[14])


# --- profiles that ship -----------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package to ship into, with one pulse model, and recordings of two kinds."""
    package = tmp_path / "path" / "shipped_cells"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "pulse_mine.py").write_text("MODEL_SLOW = (1, 2)\nOTHER = 3\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.setattr(ship, "PACKAGE", "shipped_cells")
    write_pulses(tmp_path)
    (tmp_path / "cycles").mkdir()
    write_cycles(tmp_path / "cycles", "A", fade=0.0, cycles=4)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "shipped_cells"]:
        del sys.modules[name]


def test_every_recipe_becomes_a_module(shop, tmp_path, monkeypatch, capsys):
    tight = (("charge_c10", 5),)
    monkeypatch.setattr(
        ship,
        "RECIPES",
        (
            ship.Recipe("lco", "cycles", "lco", ("ocv",), tight),
            ship.Recipe("mine", "made_10ah.npz", "lco", ("resistance",), (), "pulse_mine"),
        ),
    )
    ship.main(tmp_path)
    told = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in told] == ["lco", "mine"]
    lco = importlib.import_module("shipped_cells.lco").PROFILE
    mine = importlib.import_module("shipped_cells.mine").PROFILE
    assert lco.charge_c10 == 5
    assert mine.pulse == "shipped_cells.pulse_mine"
    text = (shop / "lco.py").read_text()
    assert "Resistance: what is usual for such cells." in text
    assert 'limits=(("charge_c10", 5),),' in text


def test_a_recipe_whose_recordings_lack_a_part_is_refused(shop, tmp_path):
    recipe = ship.Recipe("mine", "cycles", "lco", ("ocv", "resistance"))
    with pytest.raises(ValueError, match="mine: not fitted"):
        ship.fitted(recipe, tmp_path)


def test_a_module_says_of_how_many_cells_it_is(shop, tmp_path):
    recipe = ship.Recipe("mine", "cycles", "lco", ("ocv",))
    assert "cycles (1 cell), SHA-256" in as_module(ship.fitted(recipe, tmp_path))
