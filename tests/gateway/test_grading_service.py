"""The live grader: what makes it publish, what does not, and a run against a real broker."""

import json
import queue
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from grading_packs import SERIAL, messages, soh
from paho.mqtt.enums import CallbackAPIVersion

from gateway.grading import profile as profiles
from gateway.grading.service import Edge, Grader

BENCH = profiles.load("packgrade-2026-bench")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOPIC = f"echelon/bay-1/{SERIAL}/"


class Line:
    """An ``Edge`` to which messages are given, and what it answered."""

    def __init__(self):
        self.edge = Edge(Grader(BENCH, lambda: NOW), "echelon")

    def give(self, kind, message, *, retained=False):
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.edge.answer(TOPIC + kind, payload, retained=retained)

    def give_both(self, **changes):
        state, detail = messages(**changes)
        first = self.give("state", state)
        return self.give("detail", detail) or first


def test_a_pack_is_graded_as_soon_as_state_and_detail_are_there():
    line = Line()
    state, detail = messages()
    assert line.give("detail", detail) is None
    topic, payload = line.give("state", state)
    assert topic == f"echelon/bay-1/{SERIAL}/grade"
    found = json.loads(payload)
    assert (found["serial"], found["class"], found["route"]) == (SERIAL, "A", "reuse")
    assert found["graded_utc"] == "2026-11-22T12:00:00+00:00"
    assert found["profile"] == BENCH.id
    assert found["profile_sha256"] == BENCH.sha256


def test_the_same_evidence_is_not_published_again_and_other_evidence_is():
    line = Line()
    assert line.give_both() is not None
    assert line.give_both() is None
    assert line.give_both(state={"seq": 90001, "gateway_time": "2027-01-01T00:00:00.000Z"}) is None
    worse = messages(health=soh(72.0))[1]
    found = json.loads(line.give("detail", worse)[1])
    assert found["class"] == "B"


def test_a_restarted_grader_leaves_a_grade_that_still_stands():
    _topic, before = Line().give_both()
    restarted = Line()
    restarted.edge.connected()
    restarted.give("grade", before, retained=True)
    assert restarted.give_both() is None
    assert restarted.give_both(health=soh(72.0)) is not None


def test_a_broker_that_lost_its_retained_grades_gets_them_again():
    line = Line()
    assert line.give_both() is not None
    line.edge.connected()  # again: nothing retained comes
    assert line.give_both() is not None


def test_its_own_grade_coming_back_changes_nothing():
    line = Line()
    _topic, own = line.give_both()
    assert line.give("grade", own, retained=False) is None
    assert line.give_both() is None


def test_late_and_recalled_readings_are_left_aside():
    line = Line()
    assert line.give_both() is not None
    old_state, old_detail = messages(health=soh(50.0))
    old_detail["gateway_time"] = "2020-01-01T00:00:00.000Z"
    assert line.give("detail", old_detail) is None
    assert line.give("state", old_state | {"recalled": True, "faults": ["stack_mismatch"]}) is None


def test_a_gateway_whose_clock_is_set_back_is_still_heard():
    line = Line()
    assert line.give_both() is not None
    later = messages(health=soh(50.0))[1]
    later |= {"seq": later["seq"] + 1, "gateway_time": "2020-01-01T00:00:00.000Z"}
    assert line.give("detail", later) is not None


def test_a_board_that_lost_its_memory_and_counts_anew_is_still_heard():
    line = Line()
    assert line.give_both() is not None
    anew = messages(health=soh(50.0))[1]
    anew |= {"boot": 1, "seq": 1, "gateway_time": "2099-01-01T00:00:00.000Z"}
    assert line.give("detail", anew) is not None


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"\xff", b"null", b'{"serial":"P-0002"}', b"[" * 5000, b'{"serial": NaN}'],
)
def test_nonsense_is_left_aside_with_a_warning(payload, caplog):
    line = Line()
    for kind in ("state", "detail"):
        assert line.give(kind, payload) is None
    assert "left aside" in caplog.text
    assert line.give("grade", payload, retained=True) is None
    assert line.give_both() is not None


def test_packs_of_two_gateways_do_not_mix():
    line = Line()
    state, detail = messages()
    line.give("state", state)
    other = f"echelon/bay-2/{SERIAL}/detail"
    assert line.edge.answer(other, json.dumps(detail).encode(), retained=False) is None


def test_a_base_topic_of_several_words_is_understood():
    edge = Edge(Grader(BENCH, lambda: NOW), "site/7")
    state, detail = messages()
    edge.answer(f"site/7/bay-1/{SERIAL}/state", json.dumps(state).encode(), retained=False)
    found = edge.answer(
        f"site/7/bay-1/{SERIAL}/detail", json.dumps(detail).encode(), retained=False
    )
    assert found[0] == f"site/7/bay-1/{SERIAL}/grade"


# --- against a real broker --------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
    finally:
        if process.stderr:
            process.stderr.close()


@pytest.fixture
def broker_port():
    pytest.importorskip("iotcore")
    port = free_port()
    command = [sys.executable, "-m", "iotcore", "--listen", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            break
        except OSError:
            time.sleep(0.05)
    else:
        pytest.fail("the broker does not listen")
    yield port
    stop(process)


@pytest.fixture
def client(broker_port):
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.grades = queue.SimpleQueue()
    client.on_message = lambda _c, _u, message: client.grades.put(json.loads(message.payload))
    client.connect("127.0.0.1", broker_port)
    client.subscribe("echelon/+/+/grade", qos=1)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def start_grader(port):
    command = [
        sys.executable, "-m", "gateway.cli", "grade", "--live", "--broker", f"127.0.0.1:{port}",
        "--profile", "packgrade-2026-bench",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "connected to" in line:
            return process
    raise AssertionError("the grader did not connect")


def publish_until_graded(client, pack, timeout_s):
    """Publish as a gateway does until a grade comes; ``None`` where none does."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        for kind, message in zip(("state", "detail"), pack, strict=True):
            client.publish(TOPIC + kind, json.dumps(message), qos=1).wait_for_publish(5)
        try:
            return client.grades.get(timeout=0.3)
        except queue.Empty:
            continue
    return None


def test_a_pack_is_graded_over_a_real_broker_and_a_restart_repeats_nothing(client, broker_port):
    grader = start_grader(broker_port)
    try:
        found = publish_until_graded(client, messages(health=soh(72.0)), 10)
        assert (found["class"], found["binding"]) == ("B", "soh")
    finally:
        assert stop(grader) == 0
    grader = start_grader(broker_port)
    try:
        assert publish_until_graded(client, messages(health=soh(72.0)), 1.5) is None
        again = publish_until_graded(client, messages(health=soh(62.0)), 10)
        assert again["class"] == "C"
    finally:
        assert stop(grader) == 0
