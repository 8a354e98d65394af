"""``echelon history`` prints what a board recorded, and says whether the chain holds."""

import csv
import io
import json
import struct
import zlib

import pytest
from gateway_fakes import PackTcpServer
from recording_pack import RecordingPack

from common import models
from common.history_records import LOST, RESTART, SETTING, TIME
from gateway.cli import main


@pytest.fixture
def fake(tmp_path):
    fake = RecordingPack(tmp_path)
    fake.bench.history.event(RESTART, 0, None, 1, 0, b"0.1.0")
    fake.bench.history.event(TIME, 0, None, None, 1_790_000_000)
    for _ in range(100):
        fake.bench.minute()
    fake.measure()
    return fake


def history(fake, *options):
    with PackTcpServer({1: fake}) as server:
        return main(["history", server.url, "1", *options])


def test_it_prints_a_line_a_record_and_that_the_chain_holds(fake, capsys):
    assert history(fake) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    last = fake.bench.history.file.last
    assert [int(line.split()[0]) for line in lines] == list(range(1, last + 1))
    assert "restart   reset_cause power_on  crash_cause none  firmware 0.1.0" in lines[0]
    assert "new_utc 2026-09-21" in lines[1]
    assert "reading   pack_voltage_v 59." in lines[5]
    assert printed.err == f"chain holds over {last} records; missing: none\n"


def test_it_only_checks_when_that_is_asked(fake, capsys):
    assert history(fake, "--check") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "chain holds" in printed.err


def batches(fake):
    """The file, its bytes, and where each batch begins and how long it is."""
    path = next((fake.bench.root / "history").iterdir())
    content = bytearray(path.read_bytes())
    at, found = 17, []
    while at < len(content):
        length, flags = struct.unpack_from("<xxHB", content, at)
        found.append((at, length, flags & 1))
        at += length
    return path, content, found


def test_a_missing_record_is_told_by_its_number_and_exit_code(fake, capsys):
    path, content, found = batches(fake)
    at, _length, _key = found[3]
    content[at + 20] ^= 1
    path.write_bytes(content)
    fake.bench.history.file.changed()
    assert history(fake) == 1
    printed = capsys.readouterr()
    first = struct.unpack_from("<L", content, at + 6)[0]
    assert f"missing: {first} to " in printed.err
    assert " records missing" in printed.out


def test_records_that_are_missing_at_the_end_are_told_too(fake, capsys):
    path, content, found = batches(fake)
    content[found[-1][0] + 20] ^= 1
    path.write_bytes(content)
    fake.bench.history.file.changed()
    last = fake.bench.history.file.last
    assert history(fake, "--check") == 1
    first = struct.unpack_from("<L", content, found[-1][0] + 6)[0]
    hole = str(last) if first == last else f"{first} to {last}"
    assert f"missing: {hole}\n" in capsys.readouterr().err


def test_as_json_it_is_what_the_gateway_sends(fake, capsys):
    assert history(fake, "--json", "--from", "20") == 0
    printed = capsys.readouterr()
    messages = [json.loads(line) for line in printed.out.splitlines()]
    assert messages[0]["number"] == 20
    assert messages[0]["missing_before"] == 0
    assert messages[0]["chain"] is None, "nobody told it yet"
    assert messages[-1]["chain"] == fake.bench.read().chain.value.hex()
    assert bytes.fromhex(messages[5]["record"]) == fake.bench.sent[25]


def test_as_csv_each_figure_has_its_column(fake, capsys):
    assert history(fake, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == fake.bench.history.file.last
    assert json.loads(rows[0]["event"])["reset_cause"] == "power_on"
    assert rows[0]["current_a"] == ""
    assert len(rows[9]["cell_voltages_v"].split()) == 16
    assert float(rows[9]["current_a"]) < 0


def test_a_changed_record_is_told_by_text_and_exit_code(fake, capsys):
    path, content, found = batches(fake)
    at, length, _key = next(batch for batch in found if not batch[2])
    content[at + length - 5] ^= 2
    struct.pack_into("<L", content, at + length - 4, zlib.crc32(content[at : at + length - 4]))
    path.write_bytes(content)
    assert history(fake) == 1
    assert "chain broken: records up to" in capsys.readouterr().err


def test_a_record_that_is_not_there_is_a_mistake_of_the_user(fake, capsys):
    assert history(fake, "--from", "5000") == 2
    assert "--from 5000: the board has records 1 to 100" in capsys.readouterr().err


def test_a_board_without_records_says_so(tmp_path, capsys):
    fake = RecordingPack(tmp_path)
    fake.measure()
    assert history(fake) == 2
    assert "recorded nothing yet" in capsys.readouterr().err


def test_a_record_of_records_that_were_not_made_has_their_number(fake, capsys):
    fake.bench.history.event(LOST, 1, None, 17)
    fake.bench.history.store(10**6)
    fake.measure()
    assert history(fake, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["lost_count"] == 17


def test_what_was_set_on_a_board_is_named(fake, capsys):
    for model in (models.SETTINGS, models.CALIBRATION, models.IDENTITY, 7):
        fake.bench.history.event(SETTING, 1, None, model)
    fake.bench.history.store(10**6)
    fake.measure()
    assert history(fake, "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[-4:]]
    assert [each["kind"] for each in told] == ["setting"] * 4
    assert [each["set"] for each in told] == ["settings", "calibration", "identity", "7"]
