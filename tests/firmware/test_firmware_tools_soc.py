"""``echelon validate soc`` on made-up drives, and what it refuses."""

import argparse
import json

import numpy as np
import pytest
from made_recordings import RATED_AH, write_drives, write_flat_drive

from firmware.tools import validate_soc
from firmware.tools.drives import DataError, Folder, cut
from firmware.tools.fit_ecm import Fit, hats, lagged


def run(*words):
    parser = argparse.ArgumentParser()
    validate_soc.add_arguments(parser)
    return validate_soc.run(parser.parse_args([str(word) for word in words]))


def cool(path, degrees):
    """Make the temperature of a recording another one."""
    with np.load(path) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, "temperature_c": np.full(len(arrays["t_s"]), degrees)})


def test_drives_that_the_circuit_has_not_seen_are_followed(tmp_path, capsys):
    write_drives(tmp_path)
    plot = tmp_path / "soc.png"
    words = ("--train", tmp_path, "--test", tmp_path, "--plot", plot)
    assert run(*words, "--figure", "start/25/rmse_pct") == 0
    told = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in told[1:-1]] == ["start/25", "middle/25"]
    assert float(told[-1].removeprefix("figure: ").removesuffix(" %")) < 2
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_its_own_is_tried_with_devices_that_err(tmp_path, capsys):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        write_drives(tmp_path / name)
    (tmp_path / "test" / "25C_one.npz").unlink()
    (tmp_path / "test" / "25C_two.npz").rename(tmp_path / "test" / "n10C_three.npz")
    cool(tmp_path / "test" / "n10C_three.npz", -8.0)
    words = ("--train", tmp_path / "train", "--test", tmp_path / "test", "--noise", "--json")
    assert run(*words, "--figure", "start/-10/tests") == 0
    text, last = capsys.readouterr().out.rstrip().rsplit("\n", 1)
    found = json.loads(text)
    assert list(found) == ["start/-10", "middle/-10"]
    assert list(found["start/-10"]["files"]) == ["n10C_three"]
    # a start 10 % above full is none: one start a device there, two in the middle
    assert found["start/-10"]["tests"] == validate_soc.DEVICES
    assert found["middle/-10"]["tests"] == 2 * validate_soc.DEVICES
    assert last == f"figure: {validate_soc.DEVICES}"


def test_the_first_hours_of_a_single_flat_drive_train_for_the_rest(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(validate_soc, "TRAIN_HOURS", 0.8)
    write_flat_drive(tmp_path)
    found = validate_soc.validate(str(tmp_path), str(tmp_path), noise=False)
    figures = found["start", 25.0]
    assert figures["rmse_pct"] < 10
    assert figures["coverage_pct"] > 80
    assert run("--train", tmp_path, "--test", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["start/25"] == figures


def test_a_repeat_of_a_test_is_not_trained_on():
    names = ["25C_x_a", "25C_x_b", "25C_x", "25C_y"]
    for name in names[:3]:
        assert validate_soc._twins(name, names) == set(names[:3])
    assert validate_soc._twins("25C_y", names) == {"25C_y"}


@pytest.mark.parametrize("figure", ["start/25/speed", "start"])
def test_a_figure_that_is_none_is_told_with_those_there_are(tmp_path, capsys, figure):
    write_drives(tmp_path)
    (tmp_path / "25C_two.npz").unlink()
    (tmp_path / "x").mkdir()
    (tmp_path / "25C_one.npz").rename(tmp_path / "x" / "25C_one.npz")
    write_drives(tmp_path)
    (tmp_path / "25C_one.npz").unlink()
    assert run("--train", tmp_path, "--test", tmp_path / "x", "--figure", figure) == 1
    assert f"--figure {figure}: not known (have start/25" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: None, "no test with time, current, voltage and soc_ref"),
        (lambda folder: (folder / "x.npz").write_bytes(b"no"), "x.npz: not a readable npz file"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(tmp_path, capsys, spoil, message):
    (tmp_path / "notes.txt").write_text("not a recording")
    spoil(tmp_path)
    assert run("--train", tmp_path, "--test", tmp_path) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: No such file"):
        Folder(str(tmp_path / "nowhere"))


def test_drives_without_a_slow_test_or_branches_teach_no_circuit(tmp_path):
    write_drives(tmp_path)
    (tmp_path / "25C_C20_OCV.npz").unlink()
    with pytest.raises(DataError, match=r"neither \*C20_OCV\.npz nor ocv_curve\.npz"):
        Fit(Folder(str(tmp_path)))


def test_a_lone_drive_cannot_be_tested_on_itself(tmp_path):
    write_drives(tmp_path)
    fit = Fit(Folder(str(tmp_path)))
    with pytest.raises(DataError, match="no test left to fit to without 25C_one, 25C_two"):
        fit.without(["25C_two", "25C_one"])


def test_a_pulse_test_is_no_drive_and_other_recordings_are_left_alone(tmp_path):
    write_drives(tmp_path)
    (tmp_path / "25C_two.npz").rename(tmp_path / "25C_HPPC.npz")
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    folder = Folder(str(tmp_path))
    assert folder.drives() == ["25C_one"]
    assert sorted(folder.tests) == ["25C_HPPC", "25C_one"]
    assert folder.capacity_ah() == RATED_AH


def test_drives_too_short_to_settle_give_no_figure(tmp_path, capsys):
    write_drives(tmp_path)
    short = cut(Folder(str(tmp_path)).tests["25C_one"], slice(0, 300))
    (tmp_path / "x").mkdir()
    np.savez(
        tmp_path / "x" / "4C_short.npz", cell_id="D", nominal_ah=RATED_AH, t_s=short["t_s"],
        current_a=short["current_a"], voltage_v=short["voltage_v"], soc_ref=short["soc"],
    )  # fmt: skip
    assert run("--train", tmp_path, "--test", tmp_path / "x") == 1
    assert "x: no drive with time, current, voltage and soc_ref" in capsys.readouterr().err
    # a name that tells a rate is of no other temperature, nor is one without an underscore
    assert Folder(str(tmp_path / "x")).tests["4C_short"]["group"] == 25


def test_across_a_gap_a_lag_follows_the_counted_charge():
    t_s = np.array([0.0, 1.0, 101.0])
    ah = np.array([0.0, 0.0, 100 / 3600])
    (fast,) = lagged(t_s, np.array([0.0, 0.0, 50.0]), ah, (1.0,)).T
    assert fast[-1] == pytest.approx(1.0)  # not the 50 A of its last second


def test_one_temperature_weighs_alone():
    assert hats(np.array([-10.0, 40.0]), np.array([25.0])).tolist() == [[1.0], [1.0]]
