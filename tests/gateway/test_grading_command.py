"""``echelon grade`` and ``echelon registers`` as a person uses them."""

import json

import pytest
from grading_packs import CHECKED, SERIAL, messages, soh

from common import models
from common.registers import RegisterMap
from gateway.cli import build_parser
from gateway.commands import grade, registers
from gateway.errors import UserError


def run(*words):
    args = build_parser({"grade": grade, "registers": registers}).parse_args(words)
    return args.run(args)


@pytest.fixture
def pack_file(tmp_path):
    def write(**changes):
        checks = changes.pop("checks", CHECKED)
        state, detail = messages(**changes)
        path = tmp_path / "pack.json"
        path.write_text(json.dumps({"state": state, "detail": detail, "checks": checks}))
        return str(path)

    return write


def test_a_file_is_graded_in_words(pack_file, capsys):
    assert run("grade", "--from", pack_file(health=soh(72.0))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{SERIAL}: Class B (daily storage): state of health (lower 95 % bound) is 72.0 %, "
        "class A asks for 80.0 %."
    )
    assert lines[1] == "  route: repurpose, status recommended: repurposed"
    assert any(line.split()[:2] == ["pass", "history"] for line in lines)
    assert lines[-2] == "  figures: cell profile nmc (CRC-32 1a2b3c4d), firmware 0.1.0"
    assert lines[-1].startswith("  limits: profile packgrade-2026 v1, sha256 ")


def test_a_file_is_graded_as_json_with_what_every_rule_found(pack_file, capsys):
    assert run("grade", "--json", "--from", pack_file(checks={})) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["class"], found["route"], found["binding"]) == (None, "hold", "visual")
    verdicts = {result["id"]: result["verdict"] for result in found["results"]}
    assert verdicts["visual"] == "unknown"
    assert verdicts["soh"] == "A"


def test_the_bench_profile_is_chosen_by_its_name(pack_file, capsys):
    file = pack_file(checks={}, lifetime={"observed_min": 300})
    assert run("grade", "--from", file, "--profile", "packgrade-2026-bench") == 0
    assert "Class A (the same use)" in capsys.readouterr().out


def test_a_profile_is_checked(root, capsys):
    file = root / "gateway/grading/profiles/packgrade-2026.toml"
    assert run("grade", "--profile-check", str(file)) == 0
    assert capsys.readouterr().out.startswith("packgrade-2026 v1 is sound, sha256 ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[]", 'want {"state": ..., "detail": ...} and at most "faults" and "checks"'),
        ('{"state": {}, "detail": {}, "note": 1}', 'want {"state": ..., "detail": ...}'),
        ('{"state": {}}', "detail is null, not an object"),
        ('{"state": {}, "detail": {}}', "state: serial is None"),
        (
            '{"state": {}, "detail": {}, "checks": {"visual": "ok"}}',
            'checks: visual is "ok", not true or false',
        ),
    ],
)
def test_a_file_that_is_no_evidence_is_told_in_one_line(tmp_path, content, told):
    path = tmp_path / "pack.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        run("grade", "--from", str(path))
    (line,) = caught.value.lines
    assert line.startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--from", "nowhere.json"], "nowhere.json: no such file"),
        (["--live", "--profile", "none"], "profile 'none': neither a file nor built in"),
        (["--live", "--broker", "here:there"], "--broker 'here:there': want HOST:PORT"),
        (["--live", "--broker", "here:99999"], "--broker 'here:99999': want HOST:PORT"),
        (["--live", "--base", "a/#"], "--base 'a/#': not a topic"),
        (["--live", "--password-file", "nowhere"], "--password-file nowhere: "),
    ],
)
def test_a_wrong_option_is_told_in_one_line(words, told):
    with pytest.raises(UserError) as caught:
        run("grade", *words)
    (line,) = caught.value.lines
    assert line.startswith(told)


def test_an_unknown_check_is_told(pack_file):
    with pytest.raises(UserError, match="checks: 'sight' is not one of this profile"):
        run("grade", "--from", pack_file(checks={"sight": True}))


# --- registers --------------------------------------------------------------------------------


def test_the_map_is_printed_with_its_addresses(capsys):
    assert run("registers", "--cells", "4") == 0
    printed = capsys.readouterr().out
    address = RegisterMap(4).block(models.SNAPSHOT).address
    assert f"At address {address}," in printed
    assert "State of charge, of the capacity that is left." in printed


def test_the_documentation_is_what_the_command_prints(root, capsys):
    assert run("registers", "--markdown") == 0
    printed = capsys.readouterr().out
    assert (root / "docs/registers.md").read_text() == printed


def test_json_lists_every_register_once(capsys):
    assert run("registers", "--json", "--cells", "3") == 0
    rows = json.loads(capsys.readouterr().out)
    used = [row["address"] + i for row in rows for i in range(row["size"])]
    pack = RegisterMap(3)
    assert used == list(range(models.BASE_ADDRESS + 2, models.BASE_ADDRESS + pack.words - 2))


def test_the_sunspec_files_are_written_as_they_ship(root, tmp_path):
    assert run("registers", "--sunspec", str(tmp_path / "new")) == 0
    for shipped in (root / "common/sunspec").glob("*.json"):
        assert (tmp_path / "new" / shipped.name).read_text() == shipped.read_text()


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--sunspec .*file: File exists"):
        run("registers", "--sunspec", str(tmp_path / "file"))


def test_a_pack_of_no_cells_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        run("registers", "--cells", "0")
    assert caught.value.code == 2
    assert "'0' is not a number from 1 to 72" in capsys.readouterr().err
