"""The counter of a row's trips at its end: it stays there."""

from core_fakes import healthy, nmc

from common.codes import Fault
from firmware.diagnosis import _FAULT, Diagnosis


def test_a_fault_that_comes_for_ever_is_counted_to_the_end_and_no_further() -> None:
    diagnosis = Diagnosis(nmc())
    s = healthy()
    wire = [i for i, row in enumerate(diagnosis.table) if row[_FAULT] == Fault.SHORT_CIRCUIT]
    for i in wire:
        diagnosis._trips[i] = 255
    for _ in range(3):
        for faults in (1 << Fault.SHORT_CIRCUIT, 0):
            s.faults = faults
            for _ in range(200):
                s.uptime_s += 1
                diagnosis.judge_cycle(s, 0)
        diagnosis.active = diagnosis.latched = 0
        for i in wire:
            diagnosis._active[i] = diagnosis._latched[i] = 0
    assert diagnosis.n_faults == 3
    assert all(diagnosis._trips[i] == 255 for i in wire)
