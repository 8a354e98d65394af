"""``echelon validate soh`` on recorded cells, and what it refuses."""

import argparse
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_recordings import write_curves, write_cycles

from firmware.snapshot import UNKNOWN_DC
from firmware.tools import fit_windows, validate, validate_soh
from firmware.tools.bench import Device, devices, measured, spread_devices
from firmware.tools.datasets import DataError, load_cells
from firmware.tools.fit_windows import Seen, _robust, _spread


def test_a_folder_without_recordings_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.npz file"):
        load_cells(tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    with pytest.raises(DataError, match=r"odd\.npz: has no charges.*speed"):
        load_cells(tmp_path)


def _segments(path, labels, volts=(3.6, 3.8, 4.0), degrees=(25.0, np.nan, 25.0)):
    n = len(labels)
    np.savez(
        path, cell_id="C", nominal_ah=2.0, cycle=np.arange(n), capacity_ah=np.array(labels),
        t_s=np.tile([0.0, 60.0, 120.0], n), current_a=np.full(3 * n, 1.0),
        voltage_v=np.tile(volts, n), temperature_c=np.tile(degrees, n),
        segment=np.repeat(np.arange(n), 3), mode=np.full(3 * n, 1),
        cycle_index=np.repeat(np.arange(n), 3),
    )  # fmt: skip


def test_a_label_of_zero_is_unknown_and_so_is_a_temperature_that_is_not_there(tmp_path):
    _segments(tmp_path / "c.npz", [1.8, 0.0, np.nan])
    cell = load_cells(tmp_path)[0]
    assert [charge.capacity_ah > 0 for charge in cell.charges] == [True, False, False]
    dc = measured(cell.charges[0], cell.nominal_ah, Device())[4]
    assert dc == [250, UNKNOWN_DC, 250]


def test_samples_that_are_no_numbers_are_left_out(tmp_path):
    _segments(tmp_path / "c.npz", [1.8], volts=(3.6, np.nan, 4.0))
    assert load_cells(tmp_path)[0].charges[0].t_s.tolist() == [0.0, 120.0]
    _segments(tmp_path / "c.npz", [1.8], volts=(np.nan, np.nan, 4.0))
    with pytest.raises(DataError, match="none of its cells has a charge"):
        load_cells(tmp_path)


def test_cells_without_any_label_teach_nothing(tmp_path):
    _segments(tmp_path / "c.npz", [0.0, np.nan])
    with pytest.raises(DataError, match="labelled with a capacity"):
        Seen(load_cells(tmp_path))


def test_a_single_odd_charge_does_not_set_the_deviation():
    errors = np.random.default_rng(2).normal(0, 0.01, 1000)
    plain = _robust(errors)
    assert plain == pytest.approx(0.01, rel=0.05)
    errors[0] = 1.0
    assert _robust(errors) == pytest.approx(plain, rel=0.02)


def test_devices_keep_their_errors_and_cover_them():
    assert [d.offset_mv for d in devices(4, 1)] == [d.offset_mv for d in devices(4, 1)]
    spread = spread_devices(6)
    assert max(d.offset_mv for d in spread) > 4
    assert min(d.gain for d in spread) < 0.9965
    assert len({d.offset_c for d in spread}) == 6


@pytest.mark.parametrize(("at_fresh", "at_worn"), [(1, 1), (3, 1), (1, 3)])
def test_the_deviation_grows_towards_the_capacities_where_cells_err_more(at_fresh, at_worn):
    rng = np.random.default_rng(4)
    y = rng.uniform(0.7, 1.0, 4000)
    best = 0.7 if at_fresh > at_worn else 1.0
    more = (max(at_fresh, at_worn) ** 2 - 1) ** 0.5
    errors = rng.normal(0, 0.005 * np.hypot(1, more * (y - best) / 0.3))
    floor, rise, end = _spread(SimpleNamespace(y=y, group=np.arange(4000) % 4), errors)
    shape = np.hypot(floor, rise * (y + errors - end))
    assert np.mean(shape**2) == pytest.approx(1, abs=0.02)
    worn, fresh = (np.hypot(floor, rise * (at - end)) for at in (0.7, 1.0))
    assert fresh / worn == pytest.approx(at_fresh / at_worn, rel=0.2)


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
def test_the_last_line_is_the_figure_asked_for(shared_data, capsys):
    folder = str(shared_data / "oxford")
    args = _parse(validate, "soh", "--train", folder, "--test", folder, "--figure", "p95")
    assert validate.run(args) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("figure: ")
    assert last.endswith(" SOH points")


# --- made-up cells ----------------------------------------------------------------------------


@pytest.fixture
def few_windows(monkeypatch):
    """Fewer candidates, so that a fit takes no time."""
    monkeypatch.setattr(fit_windows, "_WIDTHS_MV", (80, 160))
    monkeypatch.setattr(fit_windows, "TRAIN_DEVICES", 3)


@pytest.fixture
def curves(tmp_path, few_windows):
    """Sets of curves: ``train`` has four cells, ``test`` one of those and two of its own."""
    for folder, cells in (("train", "ABCD"), ("test", "AE")):
        (tmp_path / folder).mkdir()
        for cell in cells:
            write_curves(tmp_path / folder, cell, ohm=0.04 + 0.002 * (ord(cell) - 65))
    write_curves(tmp_path / "test", "F", curves=2)
    with np.load(tmp_path / "test" / "F.npz") as data:
        arrays = {**data, "capacity_ah": np.array([np.nan, 0.8])}  # of one nobody knows the truth
    np.savez(tmp_path / "test" / "F.npz", **arrays)
    return tmp_path


def test_curves_of_cells_that_were_not_seen_are_estimated(curves, capsys):
    words = ("soh", "--train", str(curves / "train"), "--test", str(curves / "test"))
    plot = curves / "soh.png"
    args = _parse(validate, *words, "--noise", "--devices", "2", "--plot", str(plot),
                  "--figure", "coverage")  # fmt: skip
    assert validate.run(args) == 0
    told = capsys.readouterr().out
    assert told.startswith("test: 3 cells, 42 charges, ")
    for name in ("single charge", "stream, fused", "A", "E", "F"):
        assert f"\n  {name} " in told
    share = float(told.splitlines()[-1].removeprefix("figure: ").removesuffix(" %"))
    assert share > 80
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_sets_of_one_name_within_two_folders_belong_together(curves, capsys):
    (curves / "test").rename(curves / "set")
    for side in ("one", "other"):
        (curves / side / "odd").mkdir(parents=True)
        np.savez(curves / side / "odd" / "x.npz", speed=np.zeros(3))
        (curves / side / "empty").mkdir()
    (curves / "set").rename(curves / "other" / "cells")
    (curves / "train").rename(curves / "one" / "cells")
    words = ("--train", str(curves / "one"), "--test", str(curves / "other"), "--json")
    assert validate_soh.run(_parse(validate_soh, *words, "--figure", "rmse")) == 0
    told = capsys.readouterr().out
    text, last = told.rstrip().rsplit("\n", 1)
    found = json.loads(text)
    assert list(found) == ["cells"]
    single = found["cells"]["single"]
    assert last == f"figure: {single['rmse']} SOH points"
    assert single["rmse"] < 1.0


def test_what_was_not_estimated_is_told_with_its_reason(curves, capsys):
    write_curves(curves / "test", "E", from_v=4.1)
    words = ("--train", str(curves / "train"), "--test", str(curves / "test"))
    assert validate_soh.run(_parse(validate_soh, *words)) == 0
    told = capsys.readouterr().out
    assert re.search(r"\n  E +0\.0  no estimate\n", told)
    assert "refused 10 times: " in told


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("", "holds no recorded cells with charges"),
        ("A", "A: is the only training cell (add other cells to --train)"),
    ],
)
def test_what_cannot_be_judged_ends_the_command_in_one_line(tmp_path, capsys, cells, message):
    for cell in cells:
        write_curves(tmp_path, cell, curves=2)
    args = _parse(validate_soh, "--train", str(tmp_path), "--test", str(tmp_path))
    assert validate_soh.run(args) == validate_soh.EXIT_USER_ERROR
    told = capsys.readouterr().err
    assert told.startswith("echelon: ")
    assert message in told
    assert told.count("\n") == 1


def test_a_curve_of_nothing_is_no_charge(tmp_path):
    write_curves(tmp_path, "A", curves=2)
    with np.load(tmp_path / "A.npz") as data:
        arrays = dict(data)
    arrays["charge_ah"][0] = np.nan
    np.savez(tmp_path / "A.npz", **arrays)
    charges = load_cells(tmp_path)[0].charges
    assert [charge.cycle for charge in charges] == [2]


@pytest.mark.parametrize(
    ("left_out", "changed", "message"),
    [
        ("cell_id", {}, "has no cell_id and nominal_ah of one cell"),
        (None, {"nominal_ah": 0.0}, "nominal_ah 0.0 is no capacity"),
    ],
)
def test_a_cell_without_a_name_or_a_rating_is_refused(tmp_path, left_out, changed, message):
    _segments(tmp_path / "c.npz", [1.8])
    with np.load(tmp_path / "c.npz") as data:
        arrays = {**data, **changed}
    np.savez(tmp_path / "c.npz", **{k: v for k, v in arrays.items() if k != left_out})
    with pytest.raises(DataError, match=message):
        load_cells(tmp_path)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"c\.npz: cannot be read"):
        load_cells(tmp_path)


def test_a_discharge_is_no_charge_and_of_two_charges_the_last_is_labelled(tmp_path):
    _segments(tmp_path / "c.npz", [1.8, 1.7, 1.6])
    with np.load(tmp_path / "c.npz") as data:
        arrays = dict(data)
    arrays["mode"] = np.repeat([1, 1, -1], 3)
    arrays["cycle_index"] = np.zeros(9, int)
    np.savez(tmp_path / "c.npz", **arrays)
    assert [np.isnan(charge.capacity_ah) for charge in load_cells(tmp_path)[0].charges] == [
        True,
        False,
    ]


def test_a_cycle_without_a_charge_is_left_out(tmp_path):
    write_cycles(tmp_path, "A", fade=0.01, cycles=3)
    with np.load(tmp_path / "A.npz") as data:
        arrays = dict(data)
    arrays["step"][(arrays["cycle_index"] == 2) & (arrays["step"] == 2)] = 7
    arrays["flags"] = np.array([0, 0, 1])
    np.savez(tmp_path / "A.npz", **arrays)
    first, last = load_cells(tmp_path)[0].charges
    assert (first.cycle, last.cycle) == (1, 3)
    assert first.capacity_ah == pytest.approx(1.98)
    assert np.isnan(last.capacity_ah)


def test_no_cells_and_cells_that_were_never_charged_far_teach_nothing(tmp_path):
    with pytest.raises(DataError, match="no cells"):
        Seen([])
    _segments(tmp_path / "c.npz", [1.8], volts=(3.2, 3.3, 3.4))
    with pytest.raises(DataError, match=r"between 3\.7 and 4\.1 V"):
        Seen(load_cells(tmp_path))
