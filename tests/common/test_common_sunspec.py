"""The SunSpec JSON files: equal to the table, valid, and read by an independent client."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec2 import device, mdef
from sunspec2.file.client import FileClientModel
from sunspec2.modbus.client import SunSpecModbusClientDevice

from common import models, sunspec_json
from common.registers import RegisterMap

MODEL_IDS = [entry[0] for entry in models.MODELS]

every_model_of_ours = pytest.mark.parametrize("model_id", models.OURS)


@pytest.fixture(autouse=True)
def our_models_on_the_clients_path(root, monkeypatch):
    folder = str(root / "common" / "sunspec")
    monkeypatch.setattr(
        device, "model_defs_path", [*device.get_model_defs_path(), folder], raising=True
    )
    monkeypatch.setattr(device, "model_defs_cache", {}, raising=False)


@every_model_of_ours
def test_the_file_that_ships_is_what_the_table_makes(model_id, root):
    shipped = json.loads((root / "common/sunspec" / sunspec_json.file_name(model_id)).read_text())
    assert shipped == sunspec_json.definition(model_id)  # else: echelon registers --sunspec


def test_no_file_ships_without_a_model(root):
    shipped = {path.name for path in (root / "common/sunspec").glob("*.json")}
    assert shipped == {sunspec_json.file_name(model_id) for model_id in models.OURS}


@every_model_of_ours
def test_pysunspec2_finds_no_fault_in_a_definition(model_id):
    assert mdef.validate_model_def(sunspec_json.definition(model_id)) == ""


class ImageDevice(SunSpecModbusClientDevice):
    """pysunspec2's Modbus client with a register image where the wire would be."""

    def __init__(self, pack):
        super().__init__()
        self._pack = pack
        self.longest_read = 0

    def read(self, addr, count):
        assert int(addr) == addr
        start = 2 * (int(addr) - models.BASE_ADDRESS)
        if start < 0 or start + 2 * int(count) > len(self._pack.image):
            raise ValueError("illegal data address")
        self.longest_read = max(self.longest_read, int(count))
        return bytes(self._pack.image[start : start + 2 * int(count)])


def filled(n_cells, chance):
    """A map with a number in every point, and what each should read as, scaled."""
    pack = RegisterMap(n_cells)
    expected = {}
    for model_id, _name, _label, points, group, tail in map(models.model, MODEL_IDS):
        block = pack.block(model_id)
        for name, kind, sf, _access in points + tail:
            if name in ("ID", "L", "NCell") or kind == "pad" or name.endswith("_SF"):
                continue
            if kind.startswith("string"):
                block.set_text(name, f"{name} {chance}"[:16])
                expected[model_id, name] = f"{name} {chance}"[:16]
            else:
                number = draw_number(kind, chance + len(expected))
                block.set(name, number)
                expected[model_id, name] = scaled(number, sf)
        for cell in range(n_cells if group else 0):
            for name, kind, sf, _access in group[1]:
                number = draw_number(kind, chance + len(expected))
                block.set_cell(name, cell, number)
                expected[model_id, name, cell] = scaled(number, sf)
    return pack, expected


def scaled(number, sf):
    return round(number * 10**sf, -sf) if isinstance(sf, int) else number


def draw_number(kind, seed):
    number = seed * 2654435761 % (1 << 32)
    if kind == "int32":
        return number // 2 - (1 << 29) * 3 // 2
    if kind.endswith("32"):
        return number - 1 if number else 0
    return number >> 18 if kind == "int16" else number >> 17


@settings(max_examples=6, deadline=None)
@given(n_cells=st.integers(1, models.MAX_CELLS), chance=st.integers(0, 10**6))
def test_pysunspec2_scans_the_map_and_reads_every_value_put_in(n_cells, chance):
    pack, expected = filled(n_cells, chance)
    client = ImageDevice(pack)
    client.scan()
    assert client.longest_read <= 125
    assert [m.model_id for m in client.model_list] == [entry[0] for entry in models.MODELS]
    assert [m.error_info for m in client.model_list if m.error_info] == []
    read = {}
    for model in client.model_list:
        for name, point in model.points.items():
            read[model.model_id, name] = point.cvalue
        for group in model.groups.values():
            for i, one in enumerate(group):
                for name, point in one.points.items():
                    tail = name in ("SnEnd", "SeqEnd")
                    key = (model.model_id, name) if tail else (model.model_id, name, i)
                    read[key] = point.cvalue
    assert {key: read[key] for key in expected} == expected


def test_pysunspec2_sees_the_unknown_as_unknown():
    client = ImageDevice(RegisterMap(4))
    client.scan()
    snapshot = client.models[models.SNAPSHOT][0]
    assert snapshot.points["Soc"].cvalue is None
    assert snapshot.points["A"].cvalue is None
    assert [cell.points["V"].cvalue for cell in snapshot.groups["Cell"]] == [None] * 4


@every_model_of_ours
def test_pysunspec2_writes_the_registers_we_would(model_id):
    pack, _expected = filled(4, 7)
    image = pack.block(model_id).bytes()
    model = FileClientModel(model_id=model_id, model_len=len(image) // 2 - 2, data=image)
    assert model.error_info == ""
    assert model.get_mb() == image


def test_symbols_of_a_bit_field_are_bit_numbers():
    points = sunspec_json.definition(models.SNAPSHOT)["group"]["points"]
    symbols = {p["name"]: p.get("symbols") for p in points}
    assert symbols["Sw"][:2] == [{"name": "CHARGE", "value": 0}, {"name": "DISCHARGE", "value": 1}]
    assert symbols["Flt"][0] == {"name": "CELL_OVER_VOLTAGE", "value": 0}
    assert symbols["St"][2] == {"name": "ON", "value": 3}
    assert symbols["Bal"] is None  # a bit per cell
