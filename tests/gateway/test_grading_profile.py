"""Profiles: the ones that ship are sound, and a fault in one is told in one line."""

import json
import re

import pytest

from gateway.errors import UserError
from gateway.grading import profile as profiles

BENCH = "packgrade-2026-bench"
FIELD = "packgrade-2026"


def field_text(root):
    return (root / "gateway/grading/profiles/packgrade-2026.toml").read_text()


def test_two_profiles_come_with_the_program():
    assert profiles.built_in() == [FIELD, BENCH]


@pytest.mark.parametrize("name", [FIELD, BENCH])
def test_a_profile_that_ships_is_sound_and_says_where_its_numbers_come_from(name):
    found = profiles.load(name)
    assert found.id == name
    for rule in (*found.gates, *found.checks, *found.criteria):
        assert rule.origin
    assert "UL 1974 grade" not in json.dumps(found.model_dump())


def test_the_field_profile_asks_for_history_and_the_bench_profile_for_a_fresh_cycle():
    field = {g.id: g for g in profiles.load(FIELD).gates}
    bench = {g.id: g for g in profiles.load(BENCH).gates}
    assert field["history"].min == 14
    assert field["evidence_count"].min == 2
    assert "history" not in bench
    assert bench["evidence_count"].min == 1
    assert bench["evidence_age"].max == 24
    assert bench["interval"].max == field["interval"].max == 5


def test_both_profiles_share_their_classes():
    limits = [
        {c.id: (c.A, c.B, c.C) for c in profiles.load(name).criteria} for name in (FIELD, BENCH)
    ]
    assert limits[0] == limits[1]
    assert limits[0]["soh"] == (80, 70, 60)


def test_the_hash_is_of_the_meaning_not_of_the_spelling(root):
    text = field_text(root)
    commented = "# a remark\n" + text.replace("min = 14\n", "min =   14.0  # days\n")
    other = text.replace("min = 14\n", "min = 15\n")
    of = profiles.parse
    assert of(commented, "p").sha256 == of(text, "p").sha256
    assert of(other, "p").sha256 != of(text, "p").sha256
    assert re.fullmatch("[0-9a-f]{64}", of(text, "p").sha256)


FAULTY = [
    ("version = 1", 'version = "1"', "version: input should be a valid integer, found '1'"),
    ("version = 1", "version = 1\ncolour = 2", "colour: extra inputs are not permitted, found 2"),
    ("version = 1\n", "", "version: field required"),
    (
        "min = 14",
        'min = "14"',
        "gates \"history\": min: input should be a valid number, found '14'",
    ),
    ("min = 14", "min = true", 'gates "history": min: input should be a valid number, found True'),
    (
        "min = 14",
        "min = 14\nmax = 20",
        'gates "history": give either min or max for a quantity, and neither for faults',
    ),
    (
        'quantity = "observed_days"',
        'quantity = "days"',
        "gates \"history\": quantity: 'days' is not a quantity (there are: ",
    ),
    (
        '"cell_deep_discharge"',
        '"deep_discharge"',
        "gates \"permanent_fail\": faults: 'deep_discharge' is not a fault (there are: ",
    ),
    (
        "max = { nmc =",
        "max = { ncm =",
        "gates \"cell_voltage_ceiling\": max: 'ncm' is not a chemistry (there are: nmc, lfp,",
    ),
    (
        "A = 80.0",
        "A = 65.0",
        "criteria \"soh\": A, B, C are [65.0, 70.0, 60.0]: with better = 'higher' a better class ",
    ),
    ('id = "clock"', 'id = "history"', "id 'history' is given twice"),
    (
        'caused_by_weak_cells = ["soh"',
        'caused_by_weak_cells = ["SOH"',
        'remanufacture: caused_by_weak_cells "1": string should match pattern',
    ),
    (
        'caused_by_weak_cells = ["soh"',
        'caused_by_weak_cells = ["health"',
        "remanufacture.caused_by_weak_cells: 'health' is not a criterion",
    ),
    (
        "max = { nmc = 4.35",
        'max = { nmc = "4.35"',
        "gates \"cell_voltage_ceiling\": max: nmc: input should be a valid number, found '4.35'",
    ),
    ("id = ", "id == ", "not TOML: "),
]


@pytest.mark.parametrize(("old", "new", "told"), FAULTY)
def test_a_fault_is_told_in_one_line_with_file_key_and_value(root, old, new, told):
    text = field_text(root)
    assert old in text
    with pytest.raises(UserError) as caught:
        profiles.parse(text.replace(old, new, 1), "mine.toml")
    (line,) = caught.value.lines
    assert line.startswith(f"mine.toml: {told}")
    assert "\n" not in line


def test_a_profile_may_not_pass_an_unknown_state_of_health(root):
    text = field_text(root)
    head, soh, tail = text.partition('id = "soh"')
    with pytest.raises(UserError, match="a pack of unknown health has no class"):
        profiles.parse(
            head + soh + tail.replace('unknown = "hold"', 'unknown = "list"', 1), "mine.toml"
        )


def test_a_profile_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(UserError, match=r"neither a file nor built in \(built in: packgrade-2026"):
        profiles.load(str(tmp_path / "nowhere.toml"))
    with pytest.raises(UserError, match="Is a directory"):
        profiles.load(str(tmp_path))
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        profiles.load(str(tmp_path / "image"))


def test_a_profile_of_ones_own_is_loaded_from_its_file(root, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(field_text(root).replace('id = "packgrade-2026"', 'id = "mine"'))
    assert profiles.load(str(mine)).id == "mine"
