"""``echelon validate soh`` on recorded cells, and what it refuses."""

import argparse
from types import SimpleNamespace

import numpy as np
import pytest

from firmware.snapshot import UNKNOWN_DC
from firmware.tools import validate, validate_soh
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
