"""State of health from pulses: made-up cells, the map, both interpreters, recorded cells."""

import argparse
import importlib
import json
import sys
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import lines

from firmware.estimators.pulse import (
    FEATURES,
    FIRST,
    MAIN,
    SHORT,
    PulseModel,
    PulseSoh,
    PulseTest,
    Reason,
    features,
)
from firmware.tools import fit_pulse, validate_pulse

MODELS = (
    "lmo_10ah",
    "nmc_21ah",
    "nmc_2_1ah",
    "lfp_35ah",
    "lfp_20ah_trains",
    "lfp_35ah_trains",
    "lfp_68ah_trains",
)


def model(name: str, which: str = "MODEL") -> PulseModel:
    return PulseModel(getattr(importlib.import_module(f"common.cells.pulse_{name}"), which))


def cell(
    test: PulseTest,
    train: int = MAIN,
    *,
    ocv: float = 3600.0,
    ohmic: float = 60.0,
    charge: float = 90.0,
    discharge: float = 100.0,
    bend: float = 0.0,
    rest: tuple[float, float] = (5.0, -6.0),
) -> PulseTest:
    """A cell of so many mV per C, without quantisation."""
    u = ocv
    test.put(train, 0, u)
    turn = 0
    for pulse in range(test.charges + test.discharges):
        sign = 1 - 2 * (pulse % 2)
        rate = 0.5 * (1 + pulse // 2)
        end = u + sign * rate * ((charge if sign > 0 else discharge) + bend * rate)
        after = u + rate * rest[pulse % 2]
        for mv in (u + sign * rate * ohmic, end, end - sign * rate * ohmic, after):
            turn += 1
            test.put(train, turn, mv)
        u = after
        test.put_step(train, pulse, sign * rate * test.rated_mah)
    return test


def found(test: PulseTest) -> dict[str, float]:
    out = array("f", bytes(4 * len(FEATURES)))
    assert features(test, out) == Reason.NONE
    return dict(zip(FEATURES, out, strict=True))


def test_features_are_what_the_cell_is_made_of() -> None:
    test = cell(PulseTest(20000, 3, 2), bend=-4.0)
    cell(test, SHORT, ocv=3602.0, charge=70.0, discharge=80.0)
    cell(test, FIRST, ocv=3607.0, ohmic=55.0)
    f = found(test)
    assert f["ocv"] == pytest.approx(3600)
    assert f["ohmic"] == pytest.approx(60, abs=0.01)
    assert f["bend_c"] == f["bend_d"] == pytest.approx(-4, abs=0.01)
    assert f["rest_c"] == pytest.approx(5, abs=0.01)
    assert f["rest_d"] == pytest.approx(-6, abs=0.01)
    assert f["net"] == pytest.approx(0.5 * (5 - 6) + (5 - 6) + 1.5 * 5, abs=0.01)
    assert f["polar_1s"] == pytest.approx(15, abs=0.01)
    assert f["asym_1s"] == pytest.approx(10, abs=0.01)
    assert f["ohmic_f"] == pytest.approx(55, abs=0.01)
    assert f["drift"] == pytest.approx(-7, abs=0.01)


@given(offset=st.integers(-5, 5), scale=st.sampled_from([2100, 20000, 100000]))
def test_a_voltage_offset_moves_nothing_but_the_open_circuit_voltage(
    offset: int, scale: int
) -> None:
    plain = found(cell(PulseTest(scale, 5, 5)))
    moved = found(cell(PulseTest(scale, 5, 5), ocv=3600.0 + offset))
    assert moved.pop("ocv") - plain.pop("ocv") == pytest.approx(offset, abs=0.01)
    for name, value in plain.items():
        if not name.startswith("drift"):  # of trains that are not there
            assert moved[name] == pytest.approx(value, abs=0.01), name


def test_a_pulse_that_a_limit_cut_short_is_left_out() -> None:
    whole = found(cell(PulseTest(10000, 3, 2)))
    test = cell(PulseTest(10000, 3, 2))
    test.put(MAIN, 18, 4300.0)
    test.put_step(MAIN, 4, 0)
    part = found(test)
    for name in ("ohmic", "polar", "asym", "bend_c", "bend_d", "rest_c", "rest_d"):
        assert part[name] == pytest.approx(whole[name], abs=0.01), name


def test_steps_of_the_wrong_sign_or_none_at_all_give_no_figure() -> None:
    out = array("f", bytes(4 * len(FEATURES)))
    test = cell(PulseTest(10000, 3, 2))
    test.put_step(MAIN, 0, -5000)
    assert features(test, out) == Reason.NO_STEP
    test = cell(PulseTest(10000, 3, 2))
    for pulse in (1, 3):
        test.put_step(MAIN, pulse, 0)
    assert features(test, out) == Reason.NO_STEP
    assert features(PulseTest(10000, 3, 2), out) == Reason.NOT_MEASURED


def test_what_the_calibration_has_not_seen_is_refused() -> None:
    pulse = PulseSoh(model("nmc_21ah"))
    assert pulse.estimate(
        cell(PulseTest(21000, 3, 2), ohmic=42, charge=62, discharge=65, ocv=3590)
    )
    assert pulse.reason == Reason.NONE
    assert pulse.lo_bp < pulse.soh_bp < pulse.hi_bp
    assert not pulse.estimate(cell(PulseTest(21000, 3, 2), ocv=4100.0))
    assert pulse.reason == Reason.OCV_OUTSIDE
    assert pulse.soh_bp is None
    assert not pulse.estimate(cell(PulseTest(21000, 3, 2), ocv=3590.0, ohmic=600.0))
    assert pulse.reason == Reason.UNLIKE
    trains = PulseSoh(model("lfp_20ah_trains"))
    assert not trains.estimate(cell(PulseTest(20000, 5, 5), ocv=3300.0))
    assert trains.reason == Reason.NOT_MEASURED


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("which", ["MODEL", "MODEL_AT_HALF", "MODEL_SLOW"])
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_board_computes_what_was_fitted(name: str, which: str, seed: int) -> None:
    """The map against the columns it was solved with: an order of products swapped shows."""
    made = model(name, which)
    pulse = PulseSoh(made)
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(size=len(made.used)), -made.clip, made.clip)
    pulse._x[:] = array("f", x.tolist())
    pulse.features[0] = made.mean[0] + made.scale[0] * x[0]
    design = fit_pulse._Design(
        fit_pulse.Shape(tuple(made.used), len(made.knots), made.clip),
        np.zeros(len(x)),
        np.ones(len(x)),
        np.array(list(made.knots), dtype=float),
    )
    row = np.zeros((1, len(FEATURES)))
    row[0, list(made.used)] = x
    if len(made.knots):
        row[0, 0] = pulse.features[0]  # the table is in mV, and ocv stands nowhere else
    columns, _ = design.columns(row)
    assert columns.shape[1] == len(made.coefficients)
    assert pulse._map() == pytest.approx((columns @ np.array(made.coefficients))[0], abs=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_small_and_32_bits_are_enough(name: str) -> None:
    made = model(name)
    assert 4 * len(made.coefficients) <= 520
    test = PulseTest(made.rated_mah, made.charges, made.discharges)
    ocv = made.mean[0]
    for train in (MAIN, SHORT, FIRST):
        cell(test, train, ocv=ocv, ohmic=50, charge=80, discharge=85, rest=(4, -4))
    wide = PulseSoh(made)
    wide.features = array("d", bytes(8 * len(FEATURES)))
    wide._x = array("d", bytes(8 * len(made.used)))
    narrow = PulseSoh(made)
    # every intermediate in 32 bits too, as on a board: numpy keeps float32 op float32
    for attribute in ("mean", "scale", "knots", "coefficients", "error", "limits"):
        setattr(narrow.model, attribute, np.array(getattr(made, attribute), dtype=np.float32))
    narrow.features = np.zeros(len(FEATURES), np.float32)
    narrow._x = np.zeros(len(made.used), np.float32)
    for train in (MAIN, SHORT, FIRST):
        test.u_mv[train] = np.array(test.u_mv[train], dtype=np.float32)
        test.step_ma[train] = np.array(test.step_ma[train], dtype=np.float32)
    got_narrow = narrow.estimate(test)
    wide.model = model(name)
    for train in (MAIN, SHORT, FIRST):
        test.u_mv[train] = test.u_mv[train].astype(np.float64)
        test.step_ma[train] = test.step_ma[train].astype(np.float64)
    assert wide.estimate(test) == got_narrow
    if got_narrow:
        assert isinstance(narrow.soh, np.float32)
        assert narrow.soh == pytest.approx(wide.soh, abs=0.02)


def test_micropython_comes_to_the_same_figures(micropython) -> None:
    here, there = (
        " ".join(lines(interpreter, "pulse_soh.py")).split()
        for interpreter in (sys.executable, micropython)
    )
    assert len(here) == len(there) == 120
    assert here.count("True") > 18
    for a, b in zip(here, there, strict=True):
        assert int(a) == pytest.approx(int(b), abs=2) if a.isdigit() else a == b


def tried(by_cell: np.ndarray) -> fit_pulse._Tried:
    shape = fit_pulse.Shape((0,), 0)
    return fit_pulse._Tried(shape, 1e-3, by_cell, float(by_cell.sum()), by_cell)


def test_the_simpler_shape_is_kept_unless_the_cells_agree_that_another_is_better() -> None:
    simple = tried(np.full(40, 0.05))
    by_chance = tried(np.r_[0.01, 0.06, np.full(38, 0.05)])
    by_all_cells = tried(np.full(40, 0.04))
    assert fit_pulse._simplest([simple, by_chance]) is simple
    assert fit_pulse._simplest([simple, by_all_cells]) is by_all_cells


def test_the_loss_is_the_sum_of_what_the_cells_add() -> None:
    error = np.array([[1.0, -2.0, 3.0, 0.0], [0.0, 2.0, -1.0, 1.0]])
    loss, by_cell = fit_pulse._loss(error, np.array([0, 0, 1, 1]))
    assert loss == pytest.approx(abs(error).mean() + np.sqrt((error**2).mean()))
    assert by_cell.sum() == pytest.approx(loss)


def test_few_cells_widen_the_interval() -> None:
    assert fit_pulse._student(7) == pytest.approx(2.365, abs=0.01)  # of the printed tables
    assert fit_pulse._student(30) == pytest.approx(2.042, abs=0.01)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "name", "mape", "known_rmse"),
    [
        ("pulsebat", "lmo_10ah", 4.0, 1.8),
        ("pulsebat", "nmc_21ah", 2.0, 1.6),
        ("pulsebat_lfp", "lfp_68ah_trains", 3.5, 1.5),
    ],
)
def test_unseen_cells_are_judged_within_the_stated_error(
    shared_data, folder: str, name: str, mape: float, known_rmse: float
) -> None:
    pulses = fit_pulse.load(shared_data / folder)[name]
    random, known, *_ = validate_pulse.judge(pulses, pulses, same=True, noise=True, folds=5)
    assert random["mape"] <= mape
    assert known["rmse"] <= known_rmse
    assert random["share"] > 0.98
    assert 0.92 <= random["coverage"] <= 0.98


@pytest.mark.shared
def test_no_cell_is_on_both_sides_of_a_division(shared_data) -> None:
    pulses = fit_pulse.load(shared_data / "pulsebat")["nmc_2_1ah"]
    parts = validate_pulse.parts(pulses.cell, 0)
    assert len(parts) == 8  # physical cells, of 45 samples
    assert sorted(cell for part in parts for cell in part) == sorted(set(pulses.cell))


def test_the_command_prints_what_a_reader_needs(tmp_path, capsys) -> None:
    """Made-up cells: the voltage before the pulses tells the capacity."""
    rng = np.random.default_rng(3)
    soh = np.linspace(70, 100, 16)
    u = np.zeros((16, 10, 21))
    for i in range(16):
        for k in range(10):
            test = cell(PulseTest(10000, 3, 2), ocv=3500 + 20 * k, charge=160 - soh[i])
            u[i, k] = np.array(test.u_mv[MAIN]) / 1000 + rng.normal(0, 1e-4, 21)
    np.savez(
        tmp_path / "made.npz",
        u_v=u,
        capacity_ah=soh / 10,
        nominal_ah=10.0,
        cell_id=[f"c{i}" for i in range(16)],
        soc=np.arange(1, 11) / 20,
    )
    parser = argparse.ArgumentParser()
    validate_pulse.add_arguments(parser)
    folder = str(tmp_path)
    options = ["--train", folder, "--test", folder, "--noise", "--folds", "4"]
    assert validate_pulse.run(parser.parse_args([*options, "--figure"])) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "16 cells  160 tests 100%" in printed[0]
    assert printed[-1].startswith("figure: ")
    assert float(printed[-1].split()[1]) < 2
    assert validate_pulse.run(parser.parse_args([*options, "--json"])) == 0
    sets = json.loads(capsys.readouterr().out)["sets"]
    assert [one["task"] for one in sets] == ["random SOC", "known SOC 50 %"]
    assert all(0.85 <= one["coverage"] <= 1 for one in sets)


def test_a_folder_without_pulse_tests_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="no pulse tests"):
        fit_pulse.load(tmp_path)
