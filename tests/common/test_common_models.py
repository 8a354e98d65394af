"""The table of models: SunSpec's are SunSpec's, and ours are sound."""

import pytest
from sunspec2.device import get_model_def

from common import model_docs, models
from common.registers import MAX_READ_WORDS, Layout, RegisterMap, point_type

MODEL_IDS = [entry[0] for entry in models.MODELS]


def official_points(group):
    """``(name, type, size, scale factor, access)`` of each point, as pysunspec2 carries them."""
    return [
        (p["name"], p["type"], p["size"], p.get("sf"), p.get("access", "R"))
        for p in group["points"]
    ]


def our_points(points):
    return [
        (name, kind.split(":")[0], point_type(kind)[1], sf, access)
        for name, kind, sf, access in points
    ]


@pytest.mark.parametrize("model_id", [models.COMMON, models.BATTERY, models.MODULE])
def test_sunspec_models_are_the_official_ones(model_id):
    official = get_model_def(model_id)["group"]
    _id, name, label, points, group, tail = models.model(model_id)
    assert (name, label) == (official["name"], official["label"])
    assert our_points(points) == official_points(official)
    assert tail == ()
    groups = official.get("groups", [])
    if group is None:
        assert groups == []
    else:
        assert [g["name"] for g in groups] == [group[0]]
        assert our_points(group[1]) == official_points(groups[0])


def every_table():
    for model_id, _name, _label, points, group, tail in map(models.model, MODEL_IDS):
        yield model_id, points + tail
        if group:
            yield model_id, group[1]


def test_names_are_unique_within_a_model():
    for model_id, table in every_table():
        names = [point[0] for point in table]
        assert len(names) == len(set(names)), model_id


def test_a_scale_factor_by_name_is_a_point_of_the_same_model():
    for model_id, table in every_table():
        own = {point[0]: point[1] for point in models.model(model_id)[3]}
        for _name, _kind, sf, _access in table:
            if isinstance(sf, str):
                assert own[sf] == "sunssf"
            elif sf is not None:
                assert -10 <= sf <= 10


def test_every_block_of_ours_says_whose_it_is_and_carries_its_sequence_at_both_ends():
    for model_id in models.OURS:
        if model_id == models.CONTROL:
            continue  # what a client writes has no measurement cycle
        _id, _name, _label, points, _group, tail = models.model(model_id)
        assert [p[0] for p in points[:4]] == ["ID", "L", "SnCrc", "Seq"]
        takes_two = Layout(model_id, 16).words > MAX_READ_WORDS  # so both say whose they are
        assert [p[0] for p in tail] == (["SnEnd", "SeqEnd"] if takes_two else ["SeqEnd"])


def test_a_kept_reading_is_laid_out_as_the_present_one():
    assert models.model(models.RECALL)[3:] == models.model(models.SNAPSHOT)[3:]


def test_the_snapshot_of_16_cells_is_one_request():
    assert Layout(models.SNAPSHOT, 16).words <= MAX_READ_WORDS


def test_what_a_client_may_write():
    writable = {
        (model_id, point[0])
        for model_id in MODEL_IDS
        for point in models.model(model_id)[3]
        if point[3] in ("RW", "rw")
    }
    assert {name for model_id, name in writable if model_id == models.CONTROL} == {
        "Cmd",
        "SetUtc",
        "RecSel",
        "FltSel",
    }
    assert {name for model_id, name in writable if model_id == models.SETTINGS} == {
        "Sel",
        *[f"Resp{n}" for n in range(1, 9)],
        *models.REMOTE,
    }
    assert {model_id for model_id, _name in writable} == {
        models.COMMON,
        models.BATTERY,
        models.SETTINGS,
        models.CALIBRATION,
        models.IDENTITY,
        models.CONTROL,
    }
    for model_id in (models.SETTINGS, models.CALIBRATION, models.IDENTITY):
        layout = Layout(model_id, models.MAX_CELLS)
        assert layout.offset("SeqEnd") - layout.offset("Resp1") <= 121, "written in one request"


@pytest.mark.parametrize("n_cells", [1, 3, 16])
def test_blocks_follow_each_other_without_a_gap(n_cells):
    pack = RegisterMap(n_cells)
    at = models.BASE_ADDRESS + 2
    for block in pack.blocks:
        assert block.address == at
        at += block.layout.words
    assert pack.image[:4] == b"SunS"
    assert pack.image[-4:] == b"\xff\xff\x00\x00"
    assert at + 2 == models.BASE_ADDRESS + pack.words


def test_every_point_has_a_meaning_and_no_meaning_lacks_its_point():
    used = set()
    for model_id, _name, _label, points, group, tail in map(models.model, MODEL_IDS):
        for name, kind, sf, _access in points + tail:
            unit, meaning = model_docs.doc(model_id, name)
            assert meaning.endswith("."), name
            assert not (unit and kind in ("enum16", "bitfield16", "bitfield32")), name
            assert sf is None or unit or name in ("Fec", "WeakZ"), name
            used.add(name)
        if group:
            used.update(point[0] for point in group[1])
            for point in group[1]:
                assert model_docs.doc(model_id, point[0], in_cell=True)[1]
    described = set().union(*model_docs._POINTS.values(), *model_docs._CELL_POINTS.values())
    assert described <= used
    assert set(model_docs.SYMBOLS) <= used


def test_every_enumeration_of_ours_names_its_numbers():
    for model_id in models.OURS:
        for name, kind, _sf, _access in models.model(model_id)[3]:
            if kind == "enum16":
                assert model_docs.symbols(model_id, name), name


def test_an_unknown_model_is_a_key_error():
    with pytest.raises(KeyError):
        models.model(803)


def test_a_point_that_no_table_has_is_a_key_error_and_theirs_have_no_symbols_of_ours():
    with pytest.raises(KeyError, match="NoSuchPoint"):
        model_docs.doc(models.HEALTH, "NoSuchPoint")
    assert model_docs.symbols(models.BATTERY, "SetOp") == {}
