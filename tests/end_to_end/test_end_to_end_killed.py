"""A gateway killed at any moment: what it had, and what it missed, reaches the subscriber once."""

import random
import subprocess
import sys
import time

import pytest
from desk_rig import ADDRESSES, RECORD_EVERY, desk, has_micropython
from mqtt_rig import wait_for

from sim.demo_service import gateway_toml

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

SPEED = 10.0  # a board keeps ten minutes: one of real time in which a gateway must come again
KILLS = 3
GATEWAY_ONLY = ("gateway_time", "recalled")  # may differ between two copies of one reading


def bare(message):
    return {key: value for key, value in message.items() if key not in GATEWAY_ONLY}


def kept(readings, serial):
    """Numbers of the readings of ``serial`` that its board keeps, as far as they have come."""
    return sorted(seq for who, _, seq in readings if who == serial and seq % RECORD_EVERY == 0)


def newest(readings, serial):
    return max(kept(readings, serial), default=0)


def holes(readings, serial, end):
    found = kept(readings, serial)
    return sorted(set(range(found[0], end + 1, RECORD_EVERY)) - set(found))


@pytest.mark.slow
def test_no_reading_is_lost_or_doubled_while_the_gateway_is_killed(tmp_path, subscriber):
    rng = random.Random(11)
    log = tmp_path / "gateway.log"
    with desk(tmp_path, SPEED) as (world, bus):
        config = tmp_path / "gateway.toml"
        config.write_text(gateway_toml(world, subscriber.port, tmp_path / "state"))
        command = [sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config)]
        for life in range(KILLS + 1):
            seen = len(subscriber.readings())
            with log.open("ab") as stderr:
                gateway = subprocess.Popen(command, stderr=stderr)
            try:
                grown = wait_for(lambda s=seen: len(subscriber.readings()) > s + 10)
                assert grown, log.read_text()
                if life < KILLS:
                    time.sleep(rng.uniform(0.0, 0.6))
                    gateway.kill()
                    gateway.wait()
                    time.sleep(rng.uniform(0.2, 1.0))
                    continue
                heard_all = wait_for(
                    lambda: all(newest(subscriber.readings(), who) for who in ADDRESSES.values())
                )
                assert heard_all, log.read_text()
                # every kept reading up to now, and what was missed before it
                last = min(
                    kept(subscriber.readings(), serial)[-1] for serial in ADDRESSES.values()
                )
                complete = wait_for(
                    lambda end=last: all(
                        newest(subscriber.readings(), serial) >= end + 5 * RECORD_EVERY
                        and not holes(subscriber.readings(), serial, end)
                        for serial in ADDRESSES.values()
                    )
                )
                gateway.terminate()
                assert gateway.wait(60) == 0, log.read_text()
            finally:
                gateway.kill()
                gateway.wait()
        boots = [world.truth(pack)["boots"] for pack in bus.packs]
    readings = subscriber.readings()
    for serial in ADDRESSES.values():
        assert complete, (holes(readings, serial, last), log.read_text())
        assert kept(readings, serial)[0] == RECORD_EVERY, "from the board's first kept reading on"
    assert boots == [1, 1]
    assert any(m["recalled"] for copies in readings.values() for m in copies)
    for copies in readings.values():
        assert all(bare(each) == bare(copies[0]) for each in copies)
    assert "readings lost" not in log.read_text()
