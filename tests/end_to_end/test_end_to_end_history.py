"""A gateway that was away finds all of it in the boards' histories, and so does the command."""

import json
import subprocess
import sys

import pytest
from desk_rig import ADDRESSES, desk, has_micropython
from mqtt_rig import wait_for

from sim.demo_service import gateway_toml

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

SPEED = 10.0
EVERY_S = 10
AWAY_S = 900


def history(bus, address, *options):
    command = [sys.executable, "-m", "gateway.cli", "history", bus.port, str(address), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def until(world, seconds):
    """Let so much virtual time pass, as fast as it goes."""
    end_s = world.time_s + seconds
    world.clock.set_speed(None)
    assert wait_for(lambda: world.time_s >= end_s, timeout_s=300)
    world.clock.set_speed(SPEED)


@pytest.mark.slow
def test_a_gateway_that_was_away_gets_every_record_once_and_the_chain_holds(tmp_path, subscriber):
    log = tmp_path / "gateway.log"
    with desk(tmp_path, SPEED, AWAY_S, history_every_s=EVERY_S) as (world, bus):
        config = tmp_path / "gateway.toml"
        config.write_text(gateway_toml(world, subscriber.port, tmp_path / "state"))
        command = [sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config)]
        least = AWAY_S // EVERY_S - 60

        def enough(life):
            """Part of the first gap; then all of it, up to where the gateway set the clock."""
            found = [subscriber.history(serial) for serial in ADDRESSES.values()]
            return all(
                len(each) >= life * least
                and (life == 1 or "time" in {m["kind"] for m in each.values()})
                for each in found
            )

        for life in (1, 2):
            with log.open("ab") as stderr:
                gateway = subprocess.Popen(command, stderr=stderr)
            try:
                assert wait_for(lambda n=life: enough(n), timeout_s=120), log.read_text()
            finally:
                gateway.kill()
                gateway.wait()
            if life == 1:
                until(world, AWAY_S)
        for address, serial in ADDRESSES.items():
            found = subscriber.history(serial)
            assert sorted(found) == list(range(1, len(found) + 1))
            assert not [m for m in found.values() if m["chain_ok"] is False]
            assert found[1]["kind"] == "restart"
            done = history(bus, address, "--json")
            assert done.returncode == 0, done.stderr
            assert "chain holds" in done.stderr
            printed = {m["number"]: m for m in map(json.loads, done.stdout.splitlines())}
            assert {n: printed[n]["record"] for n in found} == {
                n: m["record"] for n, m in found.items()
            }
            assert "reading" in history(bus, address).stdout
