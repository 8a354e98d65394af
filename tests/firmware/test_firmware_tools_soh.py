"""``echelon validate soh`` on recorded cells, and what it refuses."""

import argparse
from types import SimpleNamespace

import numpy as np
import pytest

from firmware.tools import validate, validate_soh
from firmware.tools.bench import devices, spread_devices
from firmware.tools.datasets import DataError, load_cells
from firmware.tools.fit_windows import _spread


def test_a_folder_without_recordings_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.npz file"):
        load_cells(tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "odd.npz", speed=np.zeros(3))
    with pytest.raises(DataError, match=r"odd\.npz: has no charges.*speed"):
        load_cells(tmp_path)


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
