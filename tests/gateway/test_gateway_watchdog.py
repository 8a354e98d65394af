"""The watchdog is fed only while every loop makes progress, and the log can be searched."""

import logging

from gateway.logs import KeyValueFormatter
from gateway.watchdog import Heartbeats


def test_one_loop_that_stands_still_is_named_though_the_others_run():
    now_s = [0.0]
    heartbeats = Heartbeats(lambda: now_s[0])
    bus, spool = heartbeats.source("bus"), heartbeats.source("spool")
    for now_s[0] in (10.0, 20.0, 30.0):
        spool()
    assert heartbeats.stalled(25.0) == ["bus"]
    bus()
    assert heartbeats.stalled(25.0) == []


def test_a_loop_that_never_started_counts_from_its_creation():
    now_s = [0.0]
    heartbeats = Heartbeats(lambda: now_s[0])
    heartbeats.source("bus")
    now_s[0] = 26.0
    assert heartbeats.stalled(25.0) == ["bus"]


def test_a_log_line_is_one_line_of_keys_and_values():
    record = logging.makeLogRecord(
        {"name": "gateway.bus", "levelname": "WARNING", "msg": "pack offline", "created": 0.0}
        | {"bus": "bay-1", "reason": 'no "answer"\n', "address": 3}
    )
    assert KeyValueFormatter().format(record) == (
        '1970-01-01T00:00:00.000Z WARNING bus msg="pack offline" bus=bay-1 '
        'reason="no \\"answer\\"\\n" address=3'
    )
