"""``echelon calibrate`` and ``echelon validate soh`` on recorded cells, and what they refuse."""

import argparse
import json

import numpy as np
import pytest

from firmware.estimators.window import from_table
from firmware.tools import calibrate, validate, validate_soh
from firmware.tools.bench import devices, spread_devices
from firmware.tools.datasets import DataError, load_cells


def test_a_folder_without_recordings_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.npz file"):
        load_cells(tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    with pytest.raises(DataError, match=r"odd\.npz: has no charges.*speed"):
        load_cells(tmp_path)


def test_a_missing_folder_ends_the_command_in_one_line(tmp_path, capsys):
    args = _parse(calibrate, "--train", str(tmp_path), "--chemistry", "lco", "--out", "p.json")
    assert calibrate.run(args) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_devices_keep_their_errors_and_cover_them():
    assert [d.offset_mv for d in devices(4, 1)] == [d.offset_mv for d in devices(4, 1)]
    spread = spread_devices(6)
    assert max(d.offset_mv for d in spread) > 4
    assert min(d.gain for d in spread) < 0.9965
    assert len({d.offset_c for d in spread}) == 6


def _parse(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.shared
def test_unseen_oxford_cells_are_estimated_within_half_a_point(shared_data):
    folder = str(shared_data / "oxford")
    result = validate_soh.validate(folder, folder, noise=True, n_devices=3)["oxford"]
    for way in ("single", "stream"):
        assert result[way]["rmse"] < 0.5
        assert result[way]["p95"] < 1.0
        assert result[way]["share"] > 95
        assert 90 < result[way]["coverage"] < 99
        assert result[way]["half_width"] < 2.5 * result[way]["rmse"]


@pytest.mark.shared
def test_the_profile_names_its_data_and_gives_back_its_model(shared_data, tmp_path):
    out = tmp_path / "profile.json"
    args = _parse(
        calibrate, "--train", str(shared_data / "oxford"), "--chemistry", "nmc", "--out", str(out)
    )
    assert calibrate.run(args) == 0
    profile = json.loads(out.read_text(encoding="utf-8"))
    assert profile["data"] == "oxford"
    assert len(profile["data_sha256"]) == 64
    as_module = tmp_path / "cells.py"
    args.out = str(as_module)
    assert calibrate.run(args) == 0
    made: dict[str, object] = {}
    exec(as_module.read_text(encoding="utf-8"), made)
    assert made["CRC"] == profile["crc"]
    assert list(from_table(made["WINDOWS"]).marks_mv) == profile["charge_windows"]["marks_mv"]


@pytest.mark.shared
def test_the_last_line_is_the_figure_asked_for(shared_data, capsys):
    folder = str(shared_data / "oxford")
    args = _parse(validate, "soh", "--train", folder, "--test", folder, "--figure", "p95")
    assert validate.run(args) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("figure: ")
    assert last.endswith(" SOH points")
