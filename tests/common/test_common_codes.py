"""Codes on the wire: unique, named, and never renumbered."""

import inspect

import pytest

from common import codes

CLASSES = [c for _name, c in inspect.getmembers(codes, inspect.isclass)]


def numbers(code):
    return [v for k, v in vars(code).items() if k[0] != "_" and isinstance(v, int)]


@pytest.mark.parametrize("code", CLASSES, ids=lambda c: c.__name__)
def test_numbers_are_unique_fit_a_register_and_have_names(code):
    found = numbers(code)
    assert found
    assert len(found) == len(set(found))
    assert all(0 <= n < 0xFFFF for n in found)
    assert sorted(codes.names(code)) == sorted(found)


def test_faults_fit_a_bit_field_of_32():
    assert max(numbers(codes.Fault)) < 32


def test_switches_are_single_bits():
    assert all(n.bit_count() == 1 for n in numbers(codes.Switch))


def test_released_numbers_keep_their_meaning():
    # a change here breaks every gateway and every stored reading
    assert codes.names(codes.State) == {
        1: "START",
        2: "STANDBY",
        3: "ON",
        4: "CHARGE_ONLY",
        5: "DISCHARGE_ONLY",
        6: "BLOCKED",
        7: "FAULT",
        8: "SERVICE",
        9: "PRECHARGE",
        10: "OPENING",
        11: "SHUTDOWN",
    }
    assert codes.names(codes.Chemistry)[2] == "LFP"
    assert codes.Fault.CELL_OVER_VOLTAGE == 0
    assert codes.Fault.LOOP_OVERRUN == 21
    assert codes.Fault.CLOCK_INVALID == 29


def test_fault_names_come_lowest_bit_first_and_unknown_bits_by_number():
    assert codes.fault_names(0) == []
    assert codes.fault_names(1 << 2 | 1) == ["CELL_OVER_VOLTAGE", "CELL_DEEP_DISCHARGE"]
    assert codes.fault_names(1 << 31) == ["FAULT_31"]
