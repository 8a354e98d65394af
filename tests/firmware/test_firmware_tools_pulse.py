"""``echelon validate pulse`` and the fits behind it on made-up cells, and what they refuse."""

import argparse
import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
from made_recordings import write_pulses, write_steps, write_trains

from firmware.estimators.pulse import PulseModel, PulseSoh
from firmware.estimators.resistance import at_25
from firmware.tools import fit_pulse, validate_pulse, validate_resistance

OHM = 0.001


def run(*words):
    parser = argparse.ArgumentParser()
    validate_pulse.add_arguments(parser)
    return validate_pulse.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    """A fit of less, so that it takes no time."""
    monkeypatch.setattr(fit_pulse, "COPIES", 2)
    monkeypatch.setattr(fit_pulse, "REPEATS", 1)
    monkeypatch.setattr(fit_pulse, "_RIDGES", (1e-4, 1e-2))
    monkeypatch.setattr(validate_pulse, "COPIES", 2)


@pytest.fixture
def trains(tmp_path):
    folder = tmp_path / "trains"
    folder.mkdir()
    write_trains(folder)
    return folder


@pytest.fixture
def leaf(tmp_path):
    """Steps at three temperatures, of a cell whose resistance is as the firmware takes it."""
    folder = tmp_path / "steps" / "nissan_leaf"
    folder.mkdir(parents=True)
    for name, dc in (("hppc_25C", 250), ("hppc_10C", 100), ("hppc_40C", 400)):
        write_steps(folder / f"{name}.npz", OHM / at_25(dc)[0])
    return folder


def test_trains_are_judged_on_the_grid_and_beyond_it(trains, leaf, tmp_path, capsys):
    plot = tmp_path / "pulse.png"
    words = ("--train", trains, "--test", trains, "--folds", "3", "--slow", "--plot", plot)
    assert run(*words, "--resistance", leaf.parent, "--figure") == 0
    told = capsys.readouterr().out.splitlines()
    tasks = ("random SOC", "known SOC 50 %", "other SOC and second tests")
    for row, task in zip(told, tasks, strict=False):
        assert row.startswith(f"made_10ah_trains       {task}")
    assert "12 cells   24 tests" in told[0]
    assert "nissan_leaf/hppc_10C" in told[3]
    assert float(told[-1].removeprefix("figure: ").removesuffix(" %")) < 3
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_other_cells_of_the_same_kind_are_tested_with_one_model(trains, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    write_trains(other)
    with np.load(other / "made_10ah.npz") as data:
        arrays = dict(data)
    few = np.isin(arrays["cell_id"], ["T3", "T7"])
    for name in ("cell_id", "capacity_ah", "soc", "random_soc"):
        arrays[name] = arrays[name][few]
    np.savez(other / "made_10ah.npz", **{**arrays, "u_v": arrays["u_v"][:, few]})
    (other / "kind").mkdir()
    write_pulses(other / "kind")  # which was not trained
    write_trains(other, "second_10ah")
    assert run("--train", trains, "--test", other, "--json", "--only", "made") == 0
    told = capsys.readouterr()
    assert "no pulse tests called 'made_10ah', left out" in told.err
    assert "second" not in told.err
    sets = json.loads(told.out)["sets"]
    assert [one["cells"] for one in sets] == [2, 2, 2]
    assert all(one["mape"] < 3 for one in sets)


def test_cells_that_are_all_in_the_test_are_not_trained_on(trains, tmp_path, capsys):
    again = tmp_path / "again"
    again.mkdir()
    write_trains(again)
    assert run("--train", trains, "--test", again) == 1
    told = capsys.readouterr().err
    assert "all cells of 'made_10ah_trains' are in the test, left out" in told
    assert told.endswith("nothing to judge\n")


def test_each_kind_of_cell_is_told_once(trains, capsys):
    (trains / "second").mkdir()
    write_pulses(trains / "second", cells=12)
    assert run("--train", trains, "--test", trains, "--folds", "2") == 0
    told = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in told] == ["made_10ah_trains"] * 3 + ["made_10ah"] * 2


def test_cells_without_a_test_at_half_charge_are_judged_at_the_others(trains):
    pulses = fit_pulse.load(trains)["made_10ah_trains"]
    kept = pulses.soc != 0.5
    one = replace(
        pulses,
        **{
            name: getattr(pulses, name)[kept]
            for name in ("cell", "soh", "soc", "odd", "main_mv", "short_mv", "first_mv")
        },
    )
    found = validate_pulse.judge(one, one, same=True, noise=False, folds=2)
    assert [result["task"] for result in found] == ["random SOC", "other SOC and second tests"]


def test_a_test_unlike_all_that_was_trained_on_has_no_estimate(trains):
    pulses = fit_pulse.load(trains)["made_10ah_trains"]
    pulses.main_mv[:3] += 500.0
    points = {}
    random, *_ = validate_pulse.judge(
        pulses, pulses, same=True, noise=False, folds=2, points=points
    )
    assert random["share"] == pytest.approx(22 / 24)
    assert np.isnan(points["made_10ah_trains"][1, :2]).all()


def test_a_folder_without_pulses_is_told_in_one_line(tmp_path, capsys):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    assert run("--train", tmp_path, "--test", tmp_path) == 2
    assert capsys.readouterr().err.count("no pulse tests") == 1


def test_models_are_written_as_modules_that_a_board_reads(trains, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fit_pulse", "--train", str(trains), "--out", str(tmp_path)])
    assert fit_pulse.main() == 0
    assert "MODEL_SLOW" in capsys.readouterr().out
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("pulse_made_10ah_trains")
    pulses = fit_pulse.load(trains)["made_10ah_trains"]
    shown = fit_pulse.Recorded(pulses, np.random.default_rng(1), noise=False)
    for name in ("MODEL", "MODEL_SLOW"):
        judge = PulseSoh(PulseModel(getattr(made, name)))
        assert judge.estimate(shown.fill(1))
        assert abs(judge.soh - pulses.soh[1]) < max(judge.half, 1.0)


def test_a_pulse_that_the_tester_cut_short_is_left_out(trains):
    pulses = fit_pulse.load(trains)["made_10ah_trains"]
    pulses.main_mv[0, 2] = pulses.limit_mv
    test = fit_pulse.Recorded(pulses, np.random.default_rng(1), noise=True).fill(0)
    assert test.step_ma[0][0] == 0
    assert test.step_ma[0][2] > 0


def test_no_rows_teach_no_model(trains):
    pulses = fit_pulse.load(trains)["made_10ah_trains"]
    copies = [fit_pulse.Recorded(pulses, np.random.default_rng(1), noise=True).features()]
    with pytest.raises(ValueError, match="made_10ah_trains: no rows to fit"):
        fit_pulse.fit(pulses, copies, np.zeros(len(pulses.soh), bool))


# --- resistance -------------------------------------------------------------------------------


def test_steps_at_other_temperatures_come_back_to_25_degrees(leaf):
    cold, hot = validate_resistance.judge(leaf.parent)
    assert (cold["set"], hot["set"]) == ("nissan_leaf/hppc_10C", "nissan_leaf/hppc_40C")
    assert cold["error_before"] > 0.3
    for result in (cold, hot):
        assert abs(result["error"]) < 0.05
        assert result["intervals_meet"]
        assert "outside the interval" not in validate_resistance.line(result)
    assert "outside the interval" in validate_resistance.line({**hot, "intervals_meet": False})


def test_a_recording_without_steps_has_no_resistance(leaf):
    write_steps(leaf / "hppc_10C.npz", OHM, still=True)
    assert [one["set"] for one in validate_resistance.judge(leaf.parent)] == [
        "nissan_leaf/hppc_40C"
    ]
    write_steps(leaf / "hppc_25C.npz", OHM, still=True)
    assert validate_resistance.judge(leaf.parent) == []


def test_what_is_recorded_of_warmth_and_charge_is_used(tmp_path):
    write_steps(
        tmp_path / "s.npz", OHM, temperature_c=np.full(800, 24.0), soc_ref=np.full(800, 0.5)
    )
    seen = validate_resistance.measure([(tmp_path / "s.npz", None)], "nmc", 33100)
    assert seen.mean_dc == 240
    assert seen.interval[0] == pytest.approx(OHM * 1e6 * at_25(240)[0], rel=0.05)
