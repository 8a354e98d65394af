"""``--plot`` of ``echelon validate``: what it draws, and what it says where it cannot."""

import importlib.util

import numpy as np
import pytest

from firmware.tools import plots

PNG = b"\x89PNG"


@pytest.mark.parametrize(
    ("path", "why"), [("a.bmp", "must end with"), ("no/such/folder/a.png", "is no folder")]
)
def test_a_file_that_cannot_be_written_is_said_before_the_work(path, why):
    with pytest.raises(plots.PlotError, match=why):
        plots.check(path)


def test_a_missing_matplotlib_is_said_with_the_way_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(plots.PlotError, match=r"pip install 'echelon-bms\[plots\]'"):
        plots.check("a.png")
    plots.check(None)


def test_several_sets_get_a_file_each():
    assert plots.file_of("out/a.png", "oxford", ["oxford"]) == "out/a.png"
    assert plots.file_of("out/a.png", "oxford", ["oxford", "nasa"]) == "out/a_oxford.png"


def test_each_kind_is_drawn_though_a_cell_has_no_estimate(tmp_path):
    rng = np.random.default_rng(1)
    points = [(float(e), 1.0, 90.0 - c, c) for c, e in enumerate(rng.normal(0, 0.6, 30))]
    plots.soh(str(tmp_path / "soh.png"), "set", {"A": points, "B": [], "C": points[:1]}, True)
    hours = np.linspace(0, 2, 4000)
    trace = ("drive", hours, 90 - hours, 91 - hours, np.full(4000, 2.0))
    plots.soc(str(tmp_path / "soc.png"), "set", {25.0: trace, -10.0: trace}, False)
    truth = np.linspace(60, 90, 40)
    value = np.where(np.arange(40) % 9 == 0, np.nan, truth + 1)
    both = np.stack([truth, value, np.full(40, 2.0)])
    plots.pulse(str(tmp_path / "pulse.png"), {"x": both, "y": both}, True)
    for name in ("soh", "soc", "pulse"):
        made = (tmp_path / f"{name}.png").read_bytes()
        assert made.startswith(PNG)
        assert len(made) < 120_000


def test_panels_that_are_too_many_are_hidden_and_only_the_lowest_name_their_axis():
    figure, axes = plots._panels(5, "title", "time (h)", "SOC (%)")
    assert len(axes) == 5
    assert [ax.get_visible() for ax in figure.axes] == [True] * 5 + [False]
    assert [bool(ax.get_xlabel()) for ax in axes] == [False, False, True, True, True]
