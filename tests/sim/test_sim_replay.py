"""Recorded cells: files that are right, files that are wrong, and playing them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import recording as files
from sim.pack import PackSpec
from sim.replay import RecordedPack, Recording, RecordingError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

CYCLE = """Test_Time(s),Voltage(V),Current(A),Step
0,3.0,0.0,1
60,3.0,0.0,1
120,3.6,1.0,2
3660,4.2,1.0,2
3720,4.15,0.0,3
3780,4.14,0.0,3
3840,3.9,-2.0,4
5580,2.8,-2.0,4
5640,3.1,0.0,5
"""


def csv_of(tmp_path, text: str) -> Path:
    path = tmp_path / "cell.csv"
    path.write_text(text)
    return path


def play(pack: RecordedPack, charge_on=True, discharge_on=True) -> tuple[list, list]:
    currents, voltages = [], []
    while not pack.finished:
        pack.step(1.0, charge_on, discharge_on)
        currents.append(pack.current_a)
        voltages.append(pack.cell_v[0])
    return currents, voltages


def test_a_csv_with_a_testers_column_names_is_read(tmp_path):
    recording = Recording.load(csv_of(tmp_path, CYCLE), hold_s=600.0)
    assert recording.name == "cell"
    assert recording.duration_s == 5640 + 3 * 600  # held before, between and after
    assert recording.charge_ah().max() == pytest.approx(1.0)
    assert recording.charge_ah()[-1] == pytest.approx(0.0)
    assert recording.temperature_c is None


def test_the_held_voltage_is_the_last_one_without_current(tmp_path):
    recording = Recording.load(csv_of(tmp_path, CYCLE), hold_s=600.0)
    pack = RecordedPack(PackSpec("R1", n_cells=3, rated_ah=1.0, recording=recording))
    _, voltages = play(pack)
    assert voltages[300] == 3.0
    assert voltages[600 + 3780 + 300] == pytest.approx(4.14)
    assert voltages[-1] == pytest.approx(3.1)


def test_playing_passes_the_recorded_charge(tmp_path):
    recording = Recording.load(csv_of(tmp_path, CYCLE))
    pack = RecordedPack(PackSpec("R1", n_cells=4, rated_ah=1.0, recording=recording))
    currents, voltages = play(pack)
    assert sum(i for i in currents if i > 0) / 3600 == pytest.approx(1.0, rel=1e-6)
    assert sum(currents) == pytest.approx(0.0, abs=1e-6)
    assert min(voltages) == pytest.approx(2.8, abs=0.002)
    assert pack.truth()["voltage_v"] == pytest.approx(4 * 3.1)
    assert pack.truth()["soh"] is None
    assert pack.activity == "done"


def test_recorded_current_that_the_switches_forbid_is_noted(tmp_path):
    recording = Recording.load(csv_of(tmp_path, CYCLE))
    pack = RecordedPack(PackSpec("R1", n_cells=3, rated_ah=1.0, recording=recording))
    play(pack, charge_on=True, discharge_on=False)
    assert pack.against_switches_s == pytest.approx(1800, abs=2)


def test_a_pack_needs_three_cells_for_the_chip(tmp_path):
    recording = Recording.load(csv_of(tmp_path, CYCLE))
    with pytest.raises(ValueError, match='pack "R1": 2 cells; the chip needs 3'):
        RecordedPack(PackSpec("R1", n_cells=2, recording=recording))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("t_s,voltage_v\n0,3\n", "no column \"current_a\" (has: 't_s', 'voltage_v')"),
        ("t_s,current_a,voltage_v\n0,0,3\n1,x,3\n", "line 3: \"current_a\" is 'x', not a number"),
        ("t_s,current_a,voltage_v\n0,0,3\n1,0\n", 'line 3: no "voltage_v"'),
        ("t_s,current_a,voltage_v\n0,0,3\n1,0,3\n", "2 samples are too few"),
        ("t_s,current_a,voltage_v\n0,0,3\n2,0,3\n1,0,3\n", "sample 3: time falls from 2 to 1 s"),
        ("t_s,current_a,voltage_v\n0,0,3\n1,nan,3\n2,0,3\n", 'sample 2: "current_a" is nan'),
        ("t_s,current_a,voltage_v\n0,0,3700\n1,0,3700\n2,0,3700\n", "3700 V is not the voltage"),
    ],
)
def test_a_bad_csv_is_refused_in_one_line(tmp_path, text, complaint):
    path = csv_of(tmp_path, text)
    with pytest.raises(RecordingError) as error:
        Recording.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"neither \.csv nor \.npz"):
        Recording.load(tmp_path / "cell.xlsx")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for name in ("cell.csv", "cell.npz"):
        with pytest.raises(RecordingError, match="No such file"):
            Recording.load(tmp_path / name)


def test_a_cycle_has_to_be_chosen_where_time_starts_anew(tmp_path):
    header = "cycle,t_s,current_a,voltage_v\n"
    rows = [f"{c},{t},{(t > 0) * 0.1 * c},3.{t}\n" for c in (1, 2) for t in range(5)]
    path = csv_of(tmp_path, header + "".join(rows))
    with pytest.raises(RecordingError, match="choose one from 1 to 2"):
        Recording.load(path)
    with pytest.raises(RecordingError, match=r"no cycle 3 \(has: 1 to 2\)"):
        Recording.load(path, cycle=3)
    assert Recording.load(path, cycle=2).current_a.max() == pytest.approx(0.2)
    assert files.cycles(path) == [1, 2]


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("t_s,current_a,voltage_v\n" + text, encoding="utf-8")
    try:
        Recording.load(path)
    except RecordingError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(
    st.lists(
        st.tuples(st.floats(0.1, 500), st.sampled_from([0.0, 0.5, -0.7]), st.floats(2.5, 4.2)),
        min_size=3,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_rests_are_put_in_and_no_charge_is_lost(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    now_s, lines, charge_ah = 0.0, ["t_s,current_a,voltage_v"], 0.0
    for number, (dt_s, current_a, voltage_v) in enumerate(rows):
        now_s += dt_s
        charge_ah += current_a * dt_s / 3600 if number else 0.0
        lines.append(f"{now_s!r},{current_a!r},{voltage_v!r}")
    path.write_text("\n".join(lines))
    recording = Recording.load(path, hold_s=100.0)
    assert recording.charge_ah()[-1] == pytest.approx(charge_ah, abs=1e-9)
    assert (np.diff(recording.t_s) > 0).all()
    assert recording.t_s[0] == 0.0


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip("the measured cells are not at ../shared/data")
    return path


@pytest.mark.shared
@pytest.mark.parametrize("cycle", [1, 300, 600])
def test_a_calce_cycle_gives_its_reference_capacity(cycle):
    recording = Recording.load(shared("calce_cs2/CS2_35.npz"), cycle)
    charge_ah = recording.charge_ah()
    assert charge_ah.max() - charge_ah[-1] == pytest.approx(recording.capacity_ah, rel=0.002)
    assert recording.nominal_ah == pytest.approx(1.1)


@pytest.mark.shared
@pytest.mark.parametrize("cycle", [2, 31, 100])
def test_a_nasa_cycle_gives_its_reference_capacity(cycle):
    recording = Recording.load(shared("nasa_pcoe/B0005.npz"), cycle)
    charge_ah = recording.charge_ah()
    assert charge_ah.max() - charge_ah[-1] == pytest.approx(recording.capacity_ah, rel=0.02)
    assert recording.temperature_c is not None
    assert charge_ah.max() > 0.9 * recording.capacity_ah


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["uw_maxamps_lipo/1C_cycle01.npz", "nissan_leaf/discharge_1C.npz"]
)
def test_other_recordings_play_as_they_are(name):
    recording = Recording.load(shared(name))
    assert recording.duration_s > 3600
