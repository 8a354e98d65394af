"""Registers: what goes in comes out, what is unknown stays unknown, on both interpreters."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import models, registers
from common.decode import decode_raw
from common.registers import Layout, RegisterMap, point_type

HERE = Path(__file__).parent
RANGES = {  # the numbers a type can hold beside its sentinel
    "uint16": (0, 0xFFFE),
    "enum16": (0, 0xFFFE),
    "bitfield16": (0, 0xFFFE),
    "int16": (-0x7FFF, 0x7FFF),
    "sunssf": (-0x7FFF, 0x7FFF),
    "uint32": (0, 0xFFFFFFFE),
    "bitfield32": (0, 0xFFFFFFFE),
    "int32": (-0x7FFFFFFF, 0x7FFFFFFF),
}


def numeric_points(model_id):
    """``(name, type, in a cell)`` of every number of the model that is free to be set."""
    _id, _name, _label, points, group, tail = models.model(model_id)
    found = [(name, kind, False) for name, kind, _sf, _access in points + tail]
    found += [(name, kind, True) for name, kind, _sf, _access in (group[1] if group else ())]
    return [p for p in found if p[1] in RANGES and p[0] not in ("ID", "L")]


EVERY_NUMBER = [
    (entry[0], *point) for entry in models.MODELS for point in numeric_points(entry[0])
]


SIGNED = next(point for point in EVERY_NUMBER if point[2] == "int32" and not point[3])


@given(
    model_id=st.sampled_from([entry[0] for entry in models.MODELS]),
    n_cells=st.integers(1, models.MAX_CELLS),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_is_decoded(model_id, n_cells, data):
    block = RegisterMap(n_cells).block(model_id)
    expected = {}
    expected_cells = [{} for _ in range(n_cells)]
    for name, kind, in_cell in numeric_points(model_id):
        value = st.none() | st.integers(*RANGES[kind])
        if in_cell:
            for cell in range(n_cells):
                expected_cells[cell][name] = data.draw(value)
                block.set_cell(name, cell, expected_cells[cell][name])
                assert block.get_cell(name, cell) == expected_cells[cell][name]
        else:
            expected[name] = data.draw(value)
            block.set(name, expected[name])
            assert block.get(name) == expected[name]
    points, cells = decode_raw(block.layout, block.bytes())
    assert {name: points[name] for name in expected} == expected
    if block.layout.n_cells:
        assert [{n: c[n] for n in e} for c, e in zip(cells, expected_cells, strict=True)] == (
            expected_cells
        )


@given(st.sampled_from(EVERY_NUMBER), st.integers(-(1 << 40), 1 << 40))
def test_a_number_that_does_not_fit_is_not_available_rather_than_wrong(point, value):
    model_id, name, kind, in_cell = point
    block = RegisterMap(1).block(model_id)
    if in_cell:
        block.set_cell(name, 0, value)
        read = block.get_cell(name, 0)
    else:
        block.set(name, value)
        read = block.get(name)
    low, high = RANGES[kind]
    assert read == (value if low <= value <= high else None)


WITH_CELLS = [entry[0] for entry in models.MODELS if models.model(entry[0])[4]]


@given(st.sampled_from(WITH_CELLS), st.data())
@settings(deadline=None)
def test_a_row_is_written_as_its_points_one_by_one(model_id, data):
    whole, single = RegisterMap(3).block(model_id), RegisterMap(3).block(model_id)
    names = [name for name, _kind, _sf, _access in models.model(model_id)[4][1]]
    value = st.none() | st.integers(-70000, 70000) | st.integers(-(1 << 33), 1 << 33)
    edge = st.sampled_from([-0x80000000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFF, -0x8000])
    row = [data.draw(value | edge) for _ in names]
    for name, number in zip(names, row, strict=True):
        single.set_cell(name, 1, number)
    whole.set_row(1, row)
    assert whole.bytes() == single.bytes()
    assert row == [None] * len(names), "ready for the next cell"


@pytest.mark.parametrize("n_cells", [1, 4, 16])
def test_a_fresh_map_knows_nothing_but_its_shape(n_cells):
    pack = RegisterMap(n_cells)
    for block in pack.blocks:
        points, cells = decode_raw(block.layout, block.bytes())
        known = {name: value for name, value in points.items() if value is not None}
        shape = {"ID": block.layout.id, "L": block.layout.words - 2}
        if "NCell" in points:
            shape["NCell"] = n_cells
        assert known == shape
        assert all(value is None for cell in cells for value in cell.values())


def test_sentinels_are_sunspecs():
    block = RegisterMap(1).block(models.SNAPSHOT)
    image = block.bytes()

    def at(name, words):
        start = 2 * block.layout.offset(name)
        return image[start : start + 2 * words].hex()

    assert at("Soc", 1) == "ffff"  # uint16
    assert at("St", 1) == "ffff"  # enum16
    assert at("Tmp1", 1) == "8000"  # int16
    assert at("Seq", 2) == "ffffffff"  # uint32
    assert at("Flt", 2) == "ffffffff"  # bitfield32
    assert at("A", 2) == "80000000"  # int32
    assert RegisterMap(1).block(models.COMMON).bytes()[4:36] == bytes(32)  # string


def test_decode_gives_units_and_leaves_the_unknown_unknown():
    pack = RegisterMap(2)
    snapshot = pack.block(models.SNAPSHOT)
    snapshot.set("A", -1500)
    snapshot.set("Soc", 5025)
    snapshot.set("Tmp1", -75)
    snapshot.set_cell("V", 1, 3651)
    reading = snapshot.layout.decode(snapshot.bytes())
    assert (reading["A"], reading["Soc"], reading["Tmp1"]) == (-1.5, 50.25, -7.5)
    assert reading["V"] is None
    assert [cell["V"] for cell in reading["cells"]] == [None, 3.651]


def test_a_scale_factor_that_is_a_point_is_applied():
    battery = RegisterMap(1).block(models.BATTERY)
    battery.set("V", 5312)
    battery.set("V_SF", -2)
    assert battery.layout.decode(battery.bytes())["V"] == 53.12


@given(st.text(max_size=40))
def test_text_comes_back_cut_to_its_registers_and_leaves_its_neighbours_alone(text):
    common = RegisterMap(1).block(models.COMMON)
    common.set_text("Vr", "1.0")
    before = common.bytes()
    common.set_text("Vr", text)
    at = 2 * common.layout.offset("Vr")
    after = common.bytes()
    assert after[at : at + 16] == text.encode()[:16].ljust(16, b"\0")
    assert after[:at] + after[at + 16 :] == before[:at] + before[at + 16 :]


@given(st.binary(max_size=300))
def test_foreign_bytes_are_a_value_error_and_nothing_else(data):
    with pytest.raises(ValueError, match="model 64910"):
        Layout(models.SNAPSHOT, 16).decode(data)


def test_the_answer_of_another_model_is_refused():
    pack = RegisterMap(16)
    recall = pack.block(models.RECALL).bytes()
    with pytest.raises(ValueError, match=r"model 64910 of .* expected, found model 64916"):
        Layout(models.SNAPSHOT, 16).decode(recall)


def test_only_points_marked_so_are_writable():
    def writable(model_id):
        layout = Layout(model_id, 16)
        return [name for name in layout.index if layout.place(name)[2]]

    assert writable(models.CONTROL) == ["Cmd", "SetUtc", "RecSel", "FltSel"]
    assert writable(models.SNAPSHOT) == []


def test_offsets_follow_from_the_sizes_of_the_types():
    for entry in [models.model(each[0]) for each in models.MODELS]:
        layout = Layout(entry[0], 5)
        assert decode_raw(layout, RegisterMap(5).block(entry[0]).bytes())
        assert layout.words == sum(point_type(p[1])[1] for p in entry[3] + entry[5]) + (
            5 * sum(point_type(p[1])[1] for p in entry[4][1]) if entry[4] else 0
        )


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31), -(1 << 40)])
def test_a_signed_number_just_beyond_its_registers_is_not_available(value):
    block = RegisterMap(1).block(SIGNED[0])
    block.set(SIGNED[1], 7)
    block.set(SIGNED[1], value)
    assert block.get(SIGNED[1]) is None


def test_a_block_that_the_map_has_not_is_a_key_error():
    with pytest.raises(KeyError):
        RegisterMap(1).block(999)


def run_on(interpreter, script, root, stdin=""):
    done = subprocess.run(
        [interpreter, str(HERE / script)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=root,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BY_PLACE = {
    (entry[0], point[0])
    for entry in models.MODELS
    for point in models.model(entry[0])[3]
    if point[3][0] == "r"
}


def any_value(kind, chance):
    low, high = RANGES[kind]
    edges = [None, low, high, low - 1, high + 1, 0, 1, -1, 1 << 30, 1 << 31, -(1 << 31)]
    return chance.choice([chance.choice(edges), chance.randint(low, high)])


@pytest.mark.parametrize("n_cells", [1, 5, 16])
def test_both_interpreters_write_the_same_image(n_cells, micropython, root):
    chance = random.Random(n_cells)
    writes = [[models.COMMON, "SN", None, "PACK-ä-7"], [models.HEALTH, "Prof", None, "nmc" * 9]]
    for model_id, name, kind, in_cell in EVERY_NUMBER * 4:
        if (model_id, name) in BY_PLACE:
            continue
        cell = chance.randrange(n_cells) if in_cell else None
        writes.append([model_id, name, cell, any_value(kind, chance)])
    stdin = json.dumps([n_cells, writes])
    here = run_on(sys.executable, "registers_on_both.py", root, stdin)
    there = run_on(micropython, "registers_on_both.py", root, stdin)
    # What a board writes by its place has no sentinel of its own there until it is written.
    pack = RegisterMap(n_cells)
    for model_id, name in BY_PLACE:
        block = pack.block(model_id)
        offset, words, _rw = block.layout.place(name)
        at = 4 * (block.address - models.BASE_ADDRESS + offset)
        here, there = (
            text[:at] + "-" * 4 * words + text[at + 4 * words :] for text in (here, there)
        )
    assert here == there
    assert len(here) > 4 * RegisterMap(n_cells).words


def test_writing_points_allocates_nothing_on_micropython(micropython, root):
    printed = run_on(micropython, "registers_without_allocation.py", root)
    assert printed == "no allocation\n"


def test_a_board_keeps_no_names_of_what_it_knows_by_its_place(monkeypatch):
    on_desk = Layout(models.LIFETIME, 1)
    monkeypatch.setattr(registers, "_IS_BOARD", True)
    on_board = Layout(models.LIFETIME, 1)
    assert "Soc1" in on_desk.index
    assert "Soc1" not in on_board.index
    assert on_board.offset("Seq") == on_desk.offset("Seq")
    assert on_board.words == on_desk.words


def test_no_point_of_a_cell_is_a_signed_number_of_32_bits():
    """``Block.set_row`` knows of none."""
    cells = [entry[4][1] for entry in map(models.model, models.OURS) if entry[4]]
    assert cells
    assert not [point for points in cells for point in points if point[1] == "int32"]
