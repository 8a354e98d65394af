"""``echelon calibrate`` on made-up and recorded cells: each part, the hash, what it refuses."""

import argparse
import importlib
import json
import sys

import numpy as np
import pytest
from made_recordings import GRID, RATED_AH, ocv_v, write_cycles, write_drives, write_pulses

from common.profiles import GRID_BP, module_name, profile, profile_crc
from firmware.estimators.pulse import PulseModel
from firmware.estimators.window import from_table
from firmware.tools import calibrate, ship
from firmware.tools.fit_ocv import fit_ocv
from firmware.tools.fit_reference import fit_reference
from firmware.tools.profile_file import as_module


def run(*words):
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    return calibrate.run(parser.parse_args([str(word) for word in words]))


def test_full_cycles_give_the_rested_voltage_without_the_resistance(tmp_path):
    write_cycles(tmp_path, "A", fade=0.0)
    found = fit_ocv(tmp_path, profile("nmc"))
    inner = (GRID >= 0.05) & (GRID <= 0.95)
    true_mv = 1000 * ocv_v(GRID)
    assert np.abs(np.array(found.mv) - true_mv)[inner].max() < 5
    assert found.sigma_mv == 10  # nothing ages: the least there is
    assert "12 full cycles of 1 cells" in found.made_of


def test_cells_that_differ_widen_the_error_of_the_table(tmp_path):
    branches = {"soc": GRID, "cell_id": np.array("B"), "nominal_ah": np.array(1.0)}
    middle = 3.2 + 0.2 * GRID
    np.savez(tmp_path / "ocv_curve.npz", ocv_charge_v=middle + 0.03, ocv_discharge_v=middle - 0.03,
             **branches)  # fmt: skip
    found = fit_ocv(tmp_path, profile("lfp"))
    assert found.sigma_mv == pytest.approx(30, abs=1)
    assert found.mv[GRID_BP.index(5000)] == 3300


def test_rests_are_used_where_they_were_seen_and_the_base_beyond(tmp_path):
    write_pulses(tmp_path)
    base = profile("lco")
    found = fit_ocv(tmp_path, base)
    assert np.abs(np.array(found.mv) - np.array(base.ocv_mv))[3:].max() < 8
    assert found.sigma_mv > base.ocv_sigma_mv


def test_the_reference_of_the_resistance_is_that_of_the_freshest_cells(tmp_path):
    write_pulses(tmp_path)
    r_ref_uohm_ah, _told = fit_reference(tmp_path, profile("lco"))
    assert r_ref_uohm_ah == pytest.approx(80000, rel=0.05)


@pytest.fixture
def as_board(tmp_path, monkeypatch):
    """A folder ``cells`` from which profiles are imported, as from a board's file system."""
    monkeypatch.syspath_prepend(tmp_path / "board")
    cells = tmp_path / "board" / "cells"
    cells.mkdir(parents=True)
    yield cells
    for name in [name for name in sys.modules if name.split(".")[0] == "cells"]:
        del sys.modules[name]


def test_one_profile_with_all_parts_bears_the_hash_that_a_board_says(tmp_path, as_board, capsys):
    train = tmp_path / "train"
    train.mkdir()
    for cell, fade in (("A", 0.004), ("B", 0.006), ("C", 0.008)):
        write_cycles(train, cell, fade, cycles=30)
    assert run("--train", train, "--out", tmp_path / "profile.json") == 0
    told = capsys.readouterr().out
    assert "chemistry: lco (nearest" in told
    assert "circuit: not fitted" in told
    made = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert (made["chemistry"], made["data"], made["cells"]) == ("lco", "train", ["A", "B", "C"])
    assert len(made["data_sha256"]) == 64
    assert run("--train", train, "--out", as_board / "mine.py") == 0
    board = profile("mine")
    assert profile_crc(board) == made["crc"]
    assert f"{made['crc']:08x}" in capsys.readouterr().out
    assert list(board.ocv_mv) == made["ocv"]["mv"]
    assert board.cell_max_mv == made["limits"]["cell_max_mv"]
    assert list(from_table(board.windows).marks_mv) == made["charge_windows"]["marks_mv"]
    assert board.windows_crc == made["charge_windows"]["crc"]


def test_pulse_tests_give_a_model_in_a_module_beside_the_profile(tmp_path, as_board):
    train = tmp_path / "train"
    train.mkdir()
    write_pulses(train)
    out = as_board / "mine_10ah.py"
    assert run("--train", train, "--chemistry", "lco", "--out", out) == 0
    board = profile("mine-10ah")
    assert board.pulse == "cells.pulse_mine_10ah"
    model = PulseModel(importlib.import_module(board.pulse).MODEL_SLOW)
    assert model.rated_mah == 10000
    json_out = tmp_path / "mine-10ah.json"
    assert run("--train", train, "--chemistry", "lco", "--out", json_out) == 0
    assert json.loads(json_out.read_text(encoding="utf-8"))["crc"] == profile_crc(board)


def test_drives_give_a_circuit_and_with_it_the_table_and_the_resistance(tmp_path, as_board):
    train = tmp_path / "train"
    train.mkdir()
    write_drives(train)
    out = tmp_path / "profile.json"
    assert run("--train", train, "--out", out) == 0
    made = json.loads(out.read_text(encoding="utf-8"))
    assert made["chemistry"] == "lco"
    assert made["resistance"]["r_ref_uohm_ah"] == pytest.approx(30000 * RATED_AH, rel=0.1)
    table = np.array(made["ocv"]["mv"])
    inner = (GRID >= 0.1) & (GRID <= 0.9)
    assert np.abs(table - 1000 * ocv_v(GRID))[inner].max() < 10
    assert run("--train", train, "--out", as_board / "mine.py") == 0
    board = profile("mine")
    assert board.circuit.crc() == made["circuit"]["crc"]
    assert profile_crc(board) == made["crc"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "p.json"), "holds no .npz file"),
        (("--out", "p.json", "--chemistry", "lco"), "holds no .npz file"),
        (("--out", "nca.py"), "nca.py: a profile of that name cannot be imported"),
        (("--out", "My-Cell.py"), "My-Cell.py: a profile of that name cannot be imported"),
        (("--out", "p.json", "--base", "lfp", "--chemistry", "nmc"), "--base lfp is lfp, not nmc"),
    ],
)
def test_what_cannot_be_ends_the_command_in_one_line(tmp_path, capsys, words, message):
    assert run("--train", tmp_path, *words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_recordings_of_something_else_are_told_part_by_part(tmp_path, capsys):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3), cell_id=np.array("X"))
    assert run("--train", tmp_path, "--chemistry", "nmc", "--out", tmp_path / "p.json") == 2
    told = capsys.readouterr().err
    for part in calibrate.PARTS:
        assert f"{part}: not fitted" in told
    assert not (tmp_path / "p.json").exists()


def test_several_kinds_of_cells_are_not_made_into_one(tmp_path, capsys):
    for ah in (2.1, 10.0):
        np.savez(tmp_path / f"{ah}.npz", nominal_ah=np.array(ah), cell_id=np.array("X"))
    assert run("--train", tmp_path, "--out", tmp_path / "p.json") == 2
    assert "several kinds of cells (2.1, 10 Ah): name one file" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(tmp_path, capsys):
    write_cycles(tmp_path, "A", fade=0.0, cycles=2)
    out = tmp_path / "nowhere" / "p.json"
    words = ("--without", "windows", "--without", "pulse")
    assert run("--train", tmp_path, "--chemistry", "lco", *words, "--out", out) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.parametrize("recipe", ship.RECIPES, ids=lambda r: r.name)
def test_every_shipped_profile_comes_from_its_data_again(shared_data, root, recipe):
    made = as_module(ship.fitted(recipe, shared_data))
    file = root / "common" / "cells" / f"{module_name(recipe.name)}.py"
    assert made == file.read_text(encoding="utf-8")
