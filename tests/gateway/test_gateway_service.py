"""The gateway as a process: killed, restarted, stopped, with a broker and packs of its own."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from gateway_fakes import FakePack, PackTcpServer
from mqtt_rig import Broker, Subscriber, free_port, wait_for

GATEWAY_ONLY = ("gateway_time", "recalled")  # may differ between two copies of one reading


@contextmanager
def measuring(packs, period_s):
    """Packs that measure by themselves."""
    stop = threading.Event()

    def work():
        while not stop.wait(period_s):
            for pack in packs:
                pack.measure()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_config(folder, broker_port, url, addresses, **bus):
    bus = {"poll_s": 0.1, "detail_s": 1.0, "timeout_ms": 300, **bus}
    lines = [
        "[gateway]", 'id = "g1"', f'state_dir = "{folder / "state"}"',
        "[mqtt]", f"port = {broker_port}",
        "[[bus]]", 'name = "bay"', f'port = "{url}"', *(f"{k} = {v}" for k, v in bus.items()),
    ]  # fmt: skip
    for address in addresses:
        lines += ["[[bus.pack]]", f"address = {address}"]
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def start_gateway(config, log, **environment):
    with log.open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config)],
            stderr=stderr,
            env=os.environ | environment,
        )


@pytest.fixture
def broker():
    broker = Broker(free_port())
    yield broker
    broker.stop()


@pytest.mark.slow
def test_a_killed_gateway_loses_and_doubles_no_reading(tmp_path, broker):
    rng = random.Random(5)
    packs = {1: FakePack("EB-ONE", every=5, depth=400), 2: FakePack("EB-TWO", every=5, depth=400)}
    for pack in packs.values():
        pack.measure(12)
    log = tmp_path / "gateway.log"
    subscriber = Subscriber(broker.port)
    with PackTcpServer(packs) as server:
        config = write_config(tmp_path, broker.port, server.url, packs)
        kills = 0
        with measuring(packs.values(), 0.01):
            for _ in range(5):
                seen = len(subscriber.messages)
                gateway = start_gateway(config, log)
                assert wait_for(lambda s=seen: len(subscriber.messages) > s + 40), log.read_text()
                time.sleep(rng.uniform(0.0, 0.3))
                gateway.kill()
                gateway.wait()
                kills += 1
        gateway = start_gateway(config, log)
        expected = {
            (pack.serial, pack.boot, seq)
            for pack in packs.values()
            for seq in range(pack.every, pack.seq + 1, pack.every)
        }
        assert wait_for(lambda: log.read_text().count("gateway started") == kills + 1)
        complete = wait_for(lambda: expected <= set(subscriber.readings()))
        gateway.terminate()
        assert gateway.wait(20) == 0, log.read_text()
    subscriber.close()
    readings = subscriber.readings()
    assert complete, sorted(expected - set(readings))
    assert kills == 5
    assert any(m["recalled"] for copies in readings.values() for m in copies)
    for (serial, boot, seq), copies in readings.items():
        bare = [{k: v for k, v in m.items() if k not in GATEWAY_ONLY} for m in copies]
        assert all(each == bare[0] for each in bare)
        truth = next(p for p in packs.values() if p.serial == serial).truth[boot, seq]
        assert [round(v * 1000) for v in bare[0]["cell_voltages_v"]] == truth
    assert "readings lost" not in log.read_text()


@pytest.mark.slow
def test_readings_wait_on_disk_while_the_broker_is_away(tmp_path, broker):
    pack = FakePack(every=5, depth=400)
    pack.measure(6)
    log = tmp_path / "gateway.log"
    with PackTcpServer({1: pack}) as server, measuring([pack], 0.02):
        subscriber = Subscriber(broker.port)
        gateway = start_gateway(write_config(tmp_path, broker.port, server.url, [1]), log)
        assert wait_for(lambda: len(subscriber.readings()) > 3), log.read_text()
        subscriber.close()
        broker.stop()
        away_from = pack.seq
        time.sleep(1.5)
        away_to = pack.seq
        again = Broker(broker.port)
        late = Subscriber(again.port)
        try:
            wanted = {seq for seq in range(away_from + 5, away_to) if seq % 5 == 0}
            assert wait_for(lambda: wanted <= {seq for _, _, seq in late.readings()}, 30), wanted
            assert wait_for(lambda: late.last("echelon/g1/status") == b"online")
            assert wait_for(lambda: late.last("echelon/g1/EB-1/status") == b"online")
            discovery = "homeassistant/sensor/echelon_EB-1/soc_pct/config"
            assert wait_for(lambda: late.last(discovery) is not None)
            assert json.loads(late.last(discovery))["device_class"] == "battery"
            gateway.send_signal(signal.SIGINT)
            assert gateway.wait(20) == 130
            assert wait_for(lambda: late.last("echelon/g1/status") == b"offline")
        finally:
            gateway.kill()
            gateway.wait()
            late.close()
            again.stop()


@pytest.mark.slow
def test_systemd_hears_ready_and_the_watchdog_and_a_dead_pack_goes_offline(tmp_path, broker):
    pack = FakePack()
    pack.measure(25)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        subscriber = Subscriber(broker.port)
        packs = {1: pack}
        with PackTcpServer(packs) as server:
            config = write_config(tmp_path, broker.port, server.url, [1], timeout_ms=50)
            gateway = start_gateway(
                config,
                tmp_path / "gateway.log",
                NOTIFY_SOCKET=str(tmp_path / "notify"),
                WATCHDOG_USEC="4000000",
            )
            try:
                heard = [notified.recv(64) for _ in range(3)]
                assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"] or heard == [
                    b"WATCHDOG=1", b"READY=1", b"WATCHDOG=1",
                ]  # fmt: skip
                status = "echelon/g1/EB-1/status"
                assert wait_for(lambda: subscriber.last(status) == b"online")
                assert wait_for(lambda: len(subscriber.readings("detail")) > 0)
                assert pack.utc == pytest.approx(time.time(), abs=30)
                del packs[1]
                assert wait_for(lambda: subscriber.last(status) == b"offline")
                packs[1] = pack
                assert wait_for(lambda: subscriber.last(status) == b"online")
            finally:
                gateway.terminate()
                assert gateway.wait(20) == 0
        subscriber.close()
