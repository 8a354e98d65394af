"""What each point of the register map is: its unit, its meaning, and names for its numbers.

Beside ``models``, so that boards need not carry it. Each entry is ``name: (unit, meaning)``; an
empty unit means a bare number. ``SYMBOLS`` says which class of ``codes`` names a point's numbers.
``doc`` looks both up; ``sunspec`` turns them into the SunSpec JSON files.
"""

from common import codes, models, settings_codes, update_codes

_HEADER = {
    "ID": ("", "Model identifier."),
    "L": ("", "Registers in this model after this one."),
}

_STAMP = {
    "SnCrc": ("", "CRC-32 (IEEE 802.3) of the serial number: whose answer this is."),
    "SnEnd": ("", "The same as SnCrc, for what is read in several requests."),
    "Seq": ("", "Counts measurement cycles since boot; equals SeqEnd in an answer that is whole."),
    "SeqEnd": ("", "Seq again. Where the two differ the answer is torn: read again."),
    "Boot": ("", "How often the board has started; Seq and UpS begin anew with each."),
    "NCell": ("", "Cells in series."),
}

_COMMON = {
    "Mn": ("", "Manufacturer."),
    "Md": ("", "Model of the device."),
    "Opt": ("", "Options."),
    "Vr": ("", "Version of the firmware."),
    "SN": ("", "Serial number of the pack."),
    "DA": ("", "Modbus unit address."),
    "Pad": ("", "Fills the model to an even length."),
}

_BATTERY = {
    "AHRtg": ("Ah", "Rated capacity."),
    "WHRtg": ("Wh", "Rated energy."),
    "WChaRteMax": ("W", "Highest charge power."),
    "WDisChaRteMax": ("W", "Highest discharge power."),
    "DisChaRte": ("%WHRtg", "Self-discharge a day."),
    "SoCMax": ("%WHRtg", "Highest state of charge the maker recommends."),
    "SoCMin": ("%WHRtg", "Lowest state of charge the maker recommends."),
    "SocRsvMax": ("%WHRtg", "Upper reserve of the state of charge."),
    "SoCRsvMin": ("%WHRtg", "Lower reserve of the state of charge."),
    "SoC": ("%WHRtg", "State of charge."),
    "DoD": ("%", "Depth of discharge."),
    "SoH": ("%", "State of health; see Echelon Health for its interval."),
    "NCyc": ("", "Full equivalent cycles."),
    "ChaSt": ("", "1 off, 2 empty, 3 discharging, 4 charging, 5 full, 6 holding, 7 testing."),
    "LocRemCtl": ("", "0 remote, 1 local control."),
    "Hb": ("", "Heartbeat of the battery, advances every second."),
    "CtrlHb": ("", "Heartbeat of a controller."),
    "AlmRst": ("", "Write 1 to reset latched alarms."),
    "Typ": ("", "Kind of battery; 4 is lithium-ion."),
    "State": (
        "",
        "1 disconnected, 2 initializing, 3 connected, 4 standby, 5 SOC protection, 99 fault.",
    ),
    "StateVnd": ("", "State in the vendor's numbers: St of Echelon Snapshot."),
    "WarrDt": ("", "End of warranty, days since 2000-01-01."),
    "Evt1": ("", "Alarms and warnings, SunSpec's bits."),
    "Evt2": ("", "Reserved by SunSpec."),
    "EvtVnd1": ("", "Active faults: Flt of Echelon Snapshot."),
    "EvtVnd2": ("", "Latched faults: Ltc of Echelon Snapshot."),
    "V": ("V", "Voltage of the battery."),
    "VMax": ("V", "Highest voltage it may be charged to."),
    "VMin": ("V", "Lowest voltage it may be discharged to."),
    "CellVMax": ("V", "Highest cell voltage."),
    "CellVMaxStr": ("", "String with the highest cell voltage."),
    "CellVMaxMod": ("", "Module with the highest cell voltage."),
    "CellVMin": ("V", "Lowest cell voltage."),
    "CellVMinStr": ("", "String with the lowest cell voltage."),
    "CellVMinMod": ("", "Module with the lowest cell voltage."),
    "CellVAvg": ("V", "Mean cell voltage."),
    "A": ("A", "Current, positive when charging."),
    "AChaMax": ("A", "Charge current allowed now."),
    "ADisChaMax": ("A", "Discharge current allowed now."),
    "W": ("W", "Power, positive when charging."),
    "ReqInvState": ("", "State asked of the inverter: 0 no request, 1 start, 2 stop."),
    "ReqW": ("W", "Power asked for, positive when charging."),
    "SetOp": ("", "1 connect, 2 disconnect."),
    "SetInvState": ("", "State of the inverter: 1 stopped, 2 standby, 3 started."),
}

_MODULE = {
    "StrIdx": ("", "Index of the string, from 1."),
    "ModIdx": ("", "Index of the module, from 1."),
    "NCell": ("", "Cells in the module."),
    "SoC": ("%", "State of charge."),
    "DoD": ("%", "Depth of discharge."),
    "SoH": ("%", "State of health."),
    "NCyc": ("", "Full equivalent cycles."),
    "V": ("V", "Voltage of the module."),
    "CellVMax": ("V", "Highest cell voltage."),
    "CellVMaxCell": ("", "Cell with the highest voltage."),
    "CellVMin": ("V", "Lowest cell voltage."),
    "CellVMinCell": ("", "Cell with the lowest voltage."),
    "CellVAvg": ("V", "Mean cell voltage."),
    "CellTmpMax": ("C", "Highest cell temperature."),
    "CellTmpMaxCell": ("", "Cell with the highest temperature."),
    "CellTmpMin": ("C", "Lowest cell temperature."),
    "CellTmpMinCell": ("", "Cell with the lowest temperature."),
    "CellTmpAvg": ("C", "Mean cell temperature."),
    "NCellBal": ("", "Cells being balanced now."),
    "SN": ("", "Serial number of the module."),
    "CellV": ("V", "Voltage of the cell."),
    "CellTmp": ("C", "Temperature of the cell: of the nearest sensor."),
    "CellSt": ("", "Bit 0: the cell is being balanced."),
}

_SNAPSHOT = {
    "UpS": ("s", "Time since boot at which this was measured ..."),
    "UpMs": ("ms", "... and the milliseconds on top, 0 to 999."),
    "Utc": ("s", "The same moment in seconds since 1970-01-01 UTC."),
    "TQual": ("", "Where the UTC came from."),
    "St": ("", "What the pack's controller is doing."),
    "Sw": ("", "Switches that are truly closed, read back from the AFE."),
    "Flt": ("", "Faults active now."),
    "Ltc": ("", "Faults latched: they want a reset by command."),
    "Bal": ("", "Cells being bled now; bit 0 is cell 1."),
    "Bal2": ("", "Likewise; bit 0 is cell 33."),
    "Bal3": ("", "Likewise; bit 0 is cell 65."),
    "V": ("V", "Sum of the cell voltages."),
    "VStk": ("V", "Voltage measured across the whole stack."),
    "A": ("A", "Current, positive when charging."),
    "Soc": ("%", "State of charge, of the capacity that is left."),
    "SocLo": ("%", "Lower end of the state of charge's 95 % interval."),
    "SocHi": ("%", "Upper end of the state of charge's 95 % interval."),
    "SocSync": ("", "What last synchronised the state of charge."),
    "SocAge": ("s", "Age of that synchronisation."),
    "Soh": ("%", "State of health: capacity left against rated."),
    "SohLo": ("%", "Lower end of the state of health's 95 % interval."),
    "SohHi": ("%", "Upper end of the state of health's 95 % interval."),
    "SohMth": ("", "What evidence the state of health stands on."),
    "SohAge": ("s", "Age of the youngest of that evidence."),
    "Tmp1": ("C", "Cell temperature sensor 1."),
    "Tmp2": ("C", "Cell temperature sensor 2."),
    "Tmp3": ("C", "Cell temperature sensor 3."),
    "Tmp4": ("C", "Cell temperature sensor 4."),
    "TmpFet": ("C", "Temperature of the switches."),
    "TmpAfe": ("C", "Temperature of the measuring chip."),
}
_SNAPSHOT_CELL = {"V": ("V", "Voltage of the cell.")}

_HEALTH = {
    "Soh": ("%", "State of health: capacity left against rated."),
    "SohLo": ("%", "Lower end of its 95 % interval."),
    "SohHi": ("%", "Upper end of its 95 % interval."),
    "Mth": ("", "What evidence it stands on."),
    "Ref": ("", "Why there is no figure, or why the last evidence was refused."),
    "Next": ("", "The cheapest step that would give evidence."),
    "SohAge": ("s", "Age of the youngest evidence."),
    "SohN": ("", "Pieces of evidence in the figure."),
    "Cap": ("Ah", "Capacity left."),
    "CapLo": ("Ah", "Lower end of its 95 % interval."),
    "CapHi": ("Ah", "Upper end of its 95 % interval."),
    "CapRtg": ("Ah", "Rated capacity."),
    "R": ("Ohm", "Resistance of all cells in series."),
    "RLo": ("Ohm", "Lower end of its 95 % interval."),
    "RHi": ("Ohm", "Upper end of its 95 % interval."),
    "RRef": ("Ohm", "Resistance of the same cells when new."),
    "RMth": ("", "What evidence the resistance stands on."),
    "RPulse": ("s", "Length of the current step it is measured over."),
    "RAge": ("s", "Age of its youngest evidence."),
    "Spread": ("%", "Cell capacity spread: (largest - smallest) / mean."),
    "SpreadHi": ("%", "Upper end of the spread's 95 % interval."),
    "Weak": ("", "Number of the weakest cell, from 1."),
    "WeakZ": ("", "How far it lies from the median, in robust standard deviations."),
    "RestDv": ("V", "Largest difference between cells at the last rest."),
    "RestDvAge": ("s", "Age of that rest."),
    "Chem": ("", "What the cells are made of."),
    "Prof": ("", "Cell profile the estimate assumes."),
    "ProfCrc": ("", "CRC-32 of that profile."),
}
_HEALTH_CELL = {
    "Soh": ("%", "State of health of the cell."),
    "SohLo": ("%", "Lower end of its 95 % interval."),
    "SohHi": ("%", "Upper end of its 95 % interval."),
    "Mth": ("", "What evidence it stands on."),
    "AgeH": ("h", "Age of its youngest evidence."),
    "R": ("Ohm", "Resistance of the cell."),
    "RLo": ("Ohm", "Lower end of its 95 % interval."),
    "RHi": ("Ohm", "Upper end of its 95 % interval."),
}

_LIFETIME = {
    "ChaAh": ("Ah", "Charge put in so far."),
    "DisAh": ("Ah", "Charge taken out so far."),
    "ChaWh": ("Wh", "Energy put in so far."),
    "DisWh": ("Wh", "Energy taken out so far."),
    "Fec": ("", "Full equivalent cycles: throughput / (2 x rated capacity)."),
    "NDeep": ("", "Times a cell went below its deep-discharge voltage."),
    "NOver": ("", "Times a cell went above its highest voltage."),
    "HotMin": ("min", "Minutes above the highest temperature allowed."),
    "ColdMin": ("min", "Minutes below the lowest temperature allowed."),
    "HotChaMin": ("min", "Minutes charging above the highest temperature for charging."),
    "ColdChaMin": ("min", "Minutes charging below the lowest temperature for charging."),
    "RunMin": ("min", "Minutes observed in all."),
    "VMinEver": ("V", "Lowest cell voltage ever seen."),
    "VMaxEver": ("V", "Highest cell voltage ever seen."),
    "TMinEver": ("C", "Lowest cell temperature ever seen."),
    "TMaxEver": ("C", "Highest cell temperature ever seen."),
    "AChaEver": ("A", "Highest charge current ever seen."),
    "ADisEver": ("A", "Highest discharge current ever seen."),
    "Rte0": ("%", "Round-trip efficiency when it was first known; Echelon Energy has today's."),
    "Rte0Lo": ("%", "Lower end of its 95 % interval."),
    "Rte0Hi": ("%", "Upper end of its 95 % interval."),
    "Rte0Min": ("min", "Run time of the board by then."),
    "Self0": ("%", "Self-discharge a month when it was first known; Echelon Energy has today's."),
    "Self0Lo": ("%", "Lower end of its 95 % interval."),
    "Self0Hi": ("%", "Upper end of its 95 % interval."),
    "Self0Min": ("min", "Run time of the board by then."),
    "SelfChg": ("%", "Change of the self-discharge since, once it was measured anew."),
    "SelfChgLo": ("%", "Lower end, from both intervals."),
    "SelfChgHi": ("%", "Upper end, from both intervals."),
}
for _n in range(models.N_SOC_BINS):
    _LIFETIME["Soc%d" % _n] = (
        "min",
        "Minutes with a state of charge of %d to %d %%." % (10 * _n, 10 * _n + 10),
    )
_TEMPERATURE_BINS = (
    "below 0",
    "0 to 10",
    "10 to 20",
    "20 to 30",
    "30 to 40",
    "40 to 45",
    "45 to 60",
    "above 60",
)
for _n in range(models.N_TEMPERATURE_BINS):
    _LIFETIME["Tmp%d" % _n] = (
        "min",
        "Minutes with the hottest cell at %s degC." % _TEMPERATURE_BINS[_n],
    )
_CURRENT_BINS = (
    "discharge of C or more (C: the rated capacity an hour)",
    "discharge from C/2 to C",
    "discharge from C/5 to C/2",
    "discharge below C/5",
    "rest: up to C/200, or 10 mA",
    "charge below C/5",
    "charge from C/5 to C/2",
    "charge from C/2 to C",
    "charge of C or more",
)
for _n in range(models.N_CURRENT_BINS):
    _LIFETIME["Cur%d" % _n] = ("min", "Minutes in %s." % _CURRENT_BINS[_n])

_PROTECTION = {
    "St": ("", "What the pack's controller is doing."),
    "Sw": ("", "Switches that are truly closed, read back from the AFE."),
    "Flt": ("", "Faults active now."),
    "Ltc": ("", "Faults latched: they want a reset by command."),
    "Wrn": ("", "Warnings: the values of these faults are near their limits."),
    "AfeSta": ("", "Safety Status A, B, C of the measuring chip, A in the lowest byte."),
    "AfePf": ("", "Permanent Fail Status A, B, C, D of the chip, A in the lowest byte."),
    "Cov": ("V", "Cell over-voltage: charging stops above."),
    "CovRel": ("V", "Cell over-voltage: released below."),
    "Cuv": ("V", "Cell under-voltage: discharging stops below."),
    "CuvRel": ("V", "Cell under-voltage: released above."),
    "Cdd": ("V", "Deep discharge: latched below, for good."),
    "Occ": ("A", "Over-current in charge."),
    "Ocd": ("A", "Over-current in discharge."),
    "Otc": ("C", "Over-temperature in charge."),
    "Utc": ("C", "Under-temperature in charge."),
    "Otd": ("C", "Over-temperature in discharge."),
    "Utd": ("C", "Under-temperature in discharge."),
    "Otf": ("C", "Over-temperature of the switches."),
    "Ccl": ("A", "Charge current allowed now."),
    "Dcl": ("A", "Discharge current allowed now."),
    "Cvl": ("V", "Charge voltage allowed now, whole pack."),
    "CclWhy": ("", "What holds the charge current limit down."),
    "DclWhy": ("", "What holds the discharge current limit down."),
    "CvlWhy": ("", "What holds the charge voltage down."),
    "ReqA": ("A", "Current that a running test asks of charger and load; 0: none."),
    "NFlt": ("", "Faults since boot."),
    "LastFlt": ("", "Bit number of the last fault."),
    "LastFltS": ("s", "Uptime at which it came."),
    "LastFltV": ("", "The value that raised it, in mV, mA or 0.1 degC."),
}

_DEVICE = {
    "MapVer": ("", "Version of this register map."),
    "ISign": ("", "Sign of a charging current: always 1."),
    "UpS": ("s", "Time since boot."),
    "RstCause": ("", "Why the board started."),
    "Utc": ("s", "Seconds since 1970-01-01 UTC."),
    "TQual": ("", "Where the UTC came from."),
    "Fw": ("", "Version of the firmware."),
    "Brd": ("", "Kind of board."),
    "Afe": ("", "Measuring chip."),
    "CfgCrc": ("", "CRC-32 of the settings in force."),
    "AfeSig": ("", "Signature of the chip's settings, read back."),
    "MeasUs": ("us", "Longest run of measurement and protection since boot."),
    "EstUs": ("us", "Longest run of the estimators since boot."),
    "ComUs": ("us", "Longest run of the Modbus server since boot."),
    "ImgUs": ("us", "Longest run of writing the register image since boot."),
    "BalUs": ("us", "Longest run of balancing since boot."),
    "TstUs": ("us", "Longest run of the commanded tests since boot."),
    "StoUs": ("us", "Longest run of saving to flash since boot."),
    "KeepUs": ("us", "Longest run of collecting garbage and feeding the watchdog since boot."),
    "LoopUs": ("us", "Longest pass of the loop since boot."),
    "Overrun": ("", "Passes that took too long since boot."),
    "AfeErr": ("", "Failed transfers with the measuring chip since boot."),
    "RxOk": ("", "Modbus requests understood since boot."),
    "RxBad": ("", "Modbus frames with a wrong checksum or length since boot."),
    "RxExc": ("", "Modbus exceptions answered since boot."),
    "MemFree": ("B", "Free memory of the interpreter."),
    "RecEvery": ("", "Measurement cycles between two readings kept for recall."),
    "RecDepth": ("", "Readings that can be kept."),
    "RecFirst": ("", "Seq of the oldest reading kept."),
    "RecLast": ("", "Seq of the youngest reading kept."),
    "Mode": ("", "How the firmware runs: safe after repeated crashes."),
    "NErr": ("", "Errors of tasks that were ridden through since boot."),
    "ErrTsk": ("", "Task of the last of them."),
    "ErrWhy": ("", "Kind of the last of them."),
    "TskOff": ("", "Tasks switched off after repeated errors, until the next start."),
    "NCrash": ("", "Crashes of the firmware in all."),
    "CrashTsk": ("", "Task that ended it the last time; not known after a watchdog reset."),
    "CrashWhy": ("", "What ended it the last time."),
}

_ENERGY = {
    "Wh": ("Wh", "Energy the pack still gives until its first cell is empty, at WhA and 25 degC."),
    "WhLo": ("Wh", "Lower end of its 95 % interval."),
    "WhHi": ("Wh", "Upper end of its 95 % interval."),
    "WhA": ("A", "Discharge current it is stated for."),
    "P80": ("W", "Discharge power for PwrS at 80 % state of charge and 25 degC."),
    "P80Lo": ("W", "Lower end of its 95 % interval."),
    "P80Hi": ("W", "Upper end of its 95 % interval."),
    "P20": ("W", "Discharge power for PwrS at 20 % state of charge and 25 degC."),
    "P20Lo": ("W", "Lower end of its 95 % interval."),
    "P20Hi": ("W", "Upper end of its 95 % interval."),
    "PwrS": ("s", "How long that power is held."),
    "EnRef": ("", "Why energy or power is missing."),
    "Rte": ("%", "Round-trip energy efficiency."),
    "RteLo": ("%", "Lower end of its 95 % interval."),
    "RteHi": ("%", "Upper end of its 95 % interval."),
    "RteMth": ("", "What evidence the efficiency stands on."),
    "RteRef": ("", "Why there is no efficiency."),
    "RteAge": ("s", "Age of the cycle it was measured over."),
    "SelfDis": ("%", "Self-discharge a month of the mean cell, of the rated capacity."),
    "SelfDisLo": ("%", "Lower end of its 95 % interval."),
    "SelfDisHi": ("%", "Upper end of its 95 % interval."),
    "SelfRef": ("", "Why there is no self-discharge, of the mean cell or against it."),
    "SelfAge": ("s", "Age of the youngest evidence of self-discharge."),
    "IOff": ("A", "Offset of the current sensor, learnt and taken out of the counted charge."),
    "IOffLo": ("A", "Lower end of its 95 % interval."),
    "IOffHi": ("A", "Upper end of its 95 % interval."),
    "IOffAge": ("s", "Age of the youngest evidence of the offset."),
}
_ENERGY_CELL = {
    "Soc": ("%", "State of charge of the cell, of its own capacity."),
    "SocLo": ("%", "Lower end of its 95 % interval."),
    "SocHi": ("%", "Upper end of its 95 % interval."),
    "Dif": (
        "%",
        "Charge to bleed from the cell (negative: it lacks), against the mean, of rated.",
    ),
    "DifLo": ("%", "Lower end of its 95 % interval."),
    "DifHi": ("%", "Upper end of its 95 % interval."),
    "Leak": ("%", "Self-discharge a month beyond the mean cell's, of the rated capacity."),
    "LeakLo": ("%", "Lower end of its 95 % interval."),
    "LeakHi": ("%", "Upper end of its 95 % interval."),
    "Bled": ("Ah", "Charge taken out by balancing so far."),
}

_TEST = {
    "Tst": ("", "Test under way, or the last one since boot."),
    "TstPh": ("", "What it is doing."),
    "TstStop": ("", "Why it ended without a result."),
    "Stp": ("", "Step it is at, from 1."),
    "NStp": ("", "Steps it has."),
    "Elap": ("s", "Time since its start."),
    "Left": ("s", "Time it will still take, about."),
    "EndTst": ("", "Which test ended last, with a result or without; survives a power cut."),
    "EndStop": ("", "Why it ended without a result."),
    "EndBoot": ("", "Boot count when it ended ..."),
    "EndUpS": ("s", "... and the time since that boot."),
    "EndUtc": ("s", "The same moment in seconds since 1970-01-01 UTC."),
    "ResTst": ("", "Which test the result below is of: the last one that was completed."),
    "ResMth": ("", "What evidence the result stands on."),
    "ResRef": ("", "Why the test gave no state of health."),
    "ResBoot": ("", "Boot count when it ended ..."),
    "ResUpS": ("s", "... and the time since that boot."),
    "ResUtc": ("s", "The same moment in seconds since 1970-01-01 UTC."),
    "ResDur": ("s", "How long the test took."),
    "ResTmp": ("C", "Temperature of the cells at its begin."),
    "NPul": ("", "Pulses in a train, charging and discharging in turn."),
    "Wid1": ("ms", "Length of the pulses of the first train."),
    "Wid2": ("ms", "Length of the pulses of the second train."),
    "RteC": ("%", "Current of the test against rated: largest pulse, or charge and discharge."),
    "ChaAh": ("Ah", "Charge put in."),
    "DisAh": ("Ah", "Charge taken out."),
    "ChaWh": ("Wh", "Energy put in."),
    "DisWh": ("Wh", "Energy taken out."),
    "Soh": ("%", "State of health by this test alone: of the weakest cell."),
    "SohLo": ("%", "Lower end of its 95 % interval."),
    "SohHi": ("%", "Upper end of its 95 % interval."),
    "MdlCrc": ("", "CRC-32 of the model that judged the pulses."),
}
_TEST_CELL = {
    "Soh": ("%", "State of health of the cell by this test alone."),
    "SohLo": ("%", "Lower end of its 95 % interval."),
    "SohHi": ("%", "Upper end of its 95 % interval."),
    "Ref": ("", "Why there is none."),
    "R": ("Ohm", "Resistance at the end of the longest pulses, as measured."),
    "RLo": ("Ohm", "Lower end of its 95 % interval."),
    "RHi": ("Ohm", "Upper end of its 95 % interval."),
}

_HISTORY = {
    "First": ("", "Number of the oldest record that is kept."),
    "Last": ("", "Number of the youngest record that is kept."),
    "Every": ("s", "Time between two readings."),
    "Used": ("B", "Flash that the records take."),
    "Lost": ("", "Records since boot that found no room while flash refused to be written."),
    "HeadN": ("", "Number of the record that the chain's value stands behind."),
}
for _n in range(1, 9):
    _HISTORY["Head%d" % _n] = ("", "Chain of the history: part %d of 8 of its value." % _n)

_SETTINGS = {
    "SetSt": ("", "Whether settings may be written now."),
    "SetRes": ("", "What became of the settings written last."),
    "SetSrc": ("", "Where the settings in force come from."),
    "Ref1": ("", "Which setting was refused, by its place from record_every (0) on."),
    "Ref2": ("", "The setting that Ref1 contradicts: it must be below this one."),
    "Wait": ("s", "Time until the next try may be made."),
    "NFail": ("", "Failed tries ever."),
    "FailUtc": ("s", "The last failed try, in seconds since 1970-01-01 UTC."),
    "Sel": ("", "Write the place of a setting: SelLo and SelHi tell its hard limits."),
    "SelLo": ("", "Lowest number that the register of that setting may hold."),
    "SelHi": ("", "Highest number that the register of that setting may hold."),
    "record_every": ("", "Measurement cycles between two readings kept for recall."),
    "detail_every": ("", "Measurement cycles between two writings of what changes slowly."),
    "stack_tolerance_mv": ("mV", "How far the sum of the cells may be from the whole stack."),
    "spread_mv": ("mV", "Highest cell against lowest: charging stops above."),
    "cov_mv": ("mV", "Cell over-voltage: charging stops above."),
    "cov_release_mv": ("mV", "Cell over-voltage: released below."),
    "cuv_mv": ("mV", "Cell under-voltage: discharging stops below."),
    "cuv_release_mv": ("mV", "Cell under-voltage: released above."),
    "occ_ma": ("mA", "Over-current in charge."),
    "ocd_ma": ("mA", "Over-current in discharge."),
    "otc_dc": ("0.1 C", "Over-temperature in charge."),
    "utc_dc": ("0.1 C", "Under-temperature in charge."),
    "otd_dc": ("0.1 C", "Over-temperature in discharge."),
    "utd_dc": ("0.1 C", "Under-temperature in discharge."),
    "otf_dc": ("0.1 C", "Over-temperature of the switches."),
    "balance_start_mv": ("mV", "Cells this far above the lowest one are bled."),
    "balance_min_mv": ("mV", "No cell below is bled by its voltage."),
    "balance_max_dc": ("0.1 C", "No cell is bled above."),
    "balance_max_cells": ("", "Cells bled at once, at most."),
}
for _n in range(1, 5):
    _SETTINGS["Chal%d" % _n] = ("", "Challenge: part %d of 4. It serves once." % _n)
for _n in range(1, 9):
    _SETTINGS["Resp%d" % _n] = (
        "",
        "Response: part %d of 8. Write it with all settings in one request." % _n,
    )

_UPDATE = {
    "UpSt": ("", "How far an update is."),
    "UpRes": ("", "What became of the last update."),
    "Slot": ("", "The slot of the image that runs, 0 or 1."),
    "Have": ("", "Bytes of the image that were received: go on from here."),
    "Size": ("", "Bytes of the whole image, once its header was accepted."),
    "Img1": ("", "The image in the other slot: the first half of 8 bytes of its SHA-256."),
    "Img2": ("", "The image in the other slot: the second half."),
    "Run1": ("", "The image that runs: the first half of 8 bytes of its SHA-256."),
    "Run2": ("", "The image that runs: the second half."),
    "Left": ("s", "Time left for an image on trial to be healthy."),
}

_SEALED = {
    "Res": ("", "What became of the values written last."),
    "Bad": (
        "",
        "Which value was refused, counted from the first behind Resp8; texts do not count.",
    ),
    "N": ("", "How often it was set."),
    "SetUtc": ("s", "When it was set last, in seconds since 1970-01-01 UTC."),
    "By": ("", "Who set it."),
}
for _n in range(1, 9):
    _SEALED["Resp%d" % _n] = (
        "",
        "Response: part %d of 8. Write it with all values in one request." % _n,
    )
_CALIBRATION = {
    **_SEALED,
    "VGain": ("%", "Added to each cell's voltage, as a part of it."),
    "StkGain": ("%", "Added to the voltage of the whole stack, as a part of it."),
    "AGain": ("%", "Added to the current, as a part of it."),
    "AOff": ("A", "Added to the current."),
    "TmpOff1": ("C", "Added to the first temperature."),
    "TmpOff2": ("C", "Added to the second temperature."),
    "TmpOff3": ("C", "Added to the third temperature."),
    "TmpOff4": ("C", "Added to the fourth temperature."),
    "Ref": ("", "The reference it was compared with."),
}
_CALIBRATION_CELL = {"VOff": ("V", "Added to the cell's voltage.")}
_IDENTITY = {
    **_SEALED,
    "Mkr": ("", "Who made the pack."),
    "Typ": ("", "The maker's name of its type."),
    "Bat": ("", "Batch."),
    "Made": ("", "Month in which it was made, like 2019-03."),
    "Serv": ("", "Month in which it was put into service, like 2019-05."),
    "Prev": ("", "Serial number in its former life."),
    "Pass": ("", "Identifier of its battery passport."),
}

_CONTROL = {
    "Cmd": ("", "Write a command."),
    "CmdRes": ("", "What became of the last command."),
    "SetUtc": ("s", "Write the time: seconds since 1970-01-01 UTC."),
    "RecSel": ("", "Write the Seq of a kept reading: it then stands in Echelon Recall."),
    "FltSel": ("", "Write the bit number of a fault: Echelon Faults then tells it."),
}

_FAULTS = {
    "NFlt": ("", "How often a fault came in the board's life."),
    "Ever": ("", "Faults that ever came."),
    "Unsvd": ("", "Faults of which the last is not in flash yet: a power cut would take it."),
    "FltNo": ("", "The fault that is told from here on, as FltSel of Echelon Control chose."),
    "FltN": ("", "How often it came in the board's life; stands at 65534."),
    "FstBoot": ("", "Boot count when it first came."),
    "FstSeq": ("", "Cycle of that boot in which it first came."),
    "FstUtc": ("s", "UTC when it first came: seconds since 1970-01-01, where it was known."),
    "FstTQ": ("", "Quality of FstUtc."),
    "LstBoot": ("", "Boot count when it last came."),
    "LstSeq": ("", "Cycle of that boot in which it last came; what follows is of that moment."),
    "LstUtc": ("s", "UTC when it last came: seconds since 1970-01-01, where it was known."),
    "LstTQ": ("", "Quality of LstUtc."),
    "Val": ("", "What tripped it: mV, mA, 0.1 degC, or the chip's status."),
    "Lim": ("", "The limit that was passed, in the unit of Val."),
    "V": ("V", "Sum of the cells."),
    "A": ("A", "Current, positive when charging."),
    "CellVMax": ("V", "Highest cell voltage."),
    "CellVMaxCell": ("", "Cell with the highest voltage, from 1."),
    "CellVMin": ("V", "Lowest cell voltage."),
    "CellVMinCell": ("", "Cell with the lowest voltage, from 1."),
    "CellTmpMax": ("C", "Hottest cell sensor."),
    "CellTmpMin": ("C", "Coldest cell sensor."),
    "Soc": ("%", "State of charge."),
    "Sw": ("", "Switches that were closed."),
    "SwOff": ("", "Those of them that were told to open."),
    "St": ("", "State after that."),
    "Flt": ("", "Faults active then, this one among them."),
}

_POINTS = {
    models.COMMON: _COMMON,
    models.BATTERY: _BATTERY,
    models.MODULE: _MODULE,
    models.SNAPSHOT: _SNAPSHOT,
    models.HEALTH: _HEALTH,
    models.LIFETIME: _LIFETIME,
    models.PROTECTION: _PROTECTION,
    models.DEVICE: _DEVICE,
    models.ENERGY: _ENERGY,
    models.TEST: _TEST,
    models.SETTINGS: _SETTINGS,
    models.HISTORY: _HISTORY,
    models.UPDATE: _UPDATE,
    models.FAULTS: _FAULTS,
    models.CALIBRATION: _CALIBRATION,
    models.IDENTITY: _IDENTITY,
    models.CONTROL: _CONTROL,
    models.RECALL: _SNAPSHOT,
}
_CELL_POINTS = {
    models.MODULE: _MODULE,
    models.SNAPSHOT: _SNAPSHOT_CELL,
    models.HEALTH: _HEALTH_CELL,
    models.ENERGY: _ENERGY_CELL,
    models.TEST: _TEST_CELL,
    models.CALIBRATION: _CALIBRATION_CELL,
    models.RECALL: _SNAPSHOT_CELL,
}

ABOUT = {
    models.COMMON: "Who this is. SunSpec's model.",
    models.BATTERY: "The battery as a whole. SunSpec's model.",
    models.MODULE: "The cells: voltage, temperature, state. SunSpec's model.",
    models.SNAPSHOT: "One measurement cycle of the pack, with the state of charge and health.",
    models.HEALTH: "State of health and resistance with intervals, of the pack and of each cell.",
    models.LIFETIME: "Counters over the pack's life: throughput, extremes, harmful events.",
    models.PROTECTION: "Faults, the limits in force, and what is allowed now.",
    models.DEVICE: "The board: versions, time, task times, error counters, kept readings.",
    models.ENERGY: "Energy, power, efficiency, self-discharge; charge of each cell.",
    models.TEST: "The commanded test: how far it is, and the result of the last one.",
    models.SETTINGS: "Limits in force, and how a client with the key of the board sets them.",
    models.HISTORY: "Which records the board keeps, to be read with function 20.",
    models.UPDATE: "The image of the firmware that runs, and the one that is received.",
    models.FAULTS: (
        "What is remembered for life of each fault: when it came first and last, how often, and "
        "what was measured when it last came."
    ),
    models.CALIBRATION: "How the readings were made to agree with a reference, when and by whom.",
    models.IDENTITY: "Whose pack this is and was: what its passport says of it.",
    models.CONTROL: "What a client may write.",
    models.RECALL: (
        "A kept reading, chosen by RecSel of Echelon Control; laid out as Snapshot. Of a reading "
        "that is not kept there are SnCrc, Seq and SeqEnd alone."
    ),
}

# point: the class of codes that names its numbers; bit fields hold bit numbers
SYMBOLS = {
    "Res": settings_codes.SettingsResult,
    "TQual": codes.TimeQuality,
    "St": codes.State,
    "Flt": codes.Fault,
    "Ever": codes.Fault,
    "Unsvd": codes.Fault,
    "FltNo": codes.Fault,
    "FstTQ": codes.TimeQuality,
    "LstTQ": codes.TimeQuality,
    "Ltc": codes.Fault,
    "Wrn": codes.Fault,
    "SocSync": codes.SocSync,
    "SohMth": codes.Method,
    "Mth": codes.Method,
    "RMth": codes.Method,
    "Ref": codes.Refusal,
    "EnRef": codes.Refusal,
    "RteMth": codes.Method,
    "RteRef": codes.Refusal,
    "SelfRef": codes.Refusal,
    "Tst": codes.Test,
    "TstPh": codes.TestPhase,
    "TstStop": codes.TestStop,
    "ResTst": codes.Test,
    "ResMth": codes.Method,
    "ResRef": codes.Refusal,
    "EndTst": codes.Test,
    "EndStop": codes.TestStop,
    "Next": codes.NextTest,
    "Chem": codes.Chemistry,
    "CclWhy": codes.LimitReason,
    "DclWhy": codes.LimitReason,
    "CvlWhy": codes.LimitReason,
    "RstCause": codes.ResetCause,
    "SetSt": settings_codes.SettingsState,
    "SetRes": settings_codes.SettingsResult,
    "SetSrc": settings_codes.SettingsSource,
    "UpSt": update_codes.UpdateState,
    "UpRes": update_codes.UpdateResult,
    "Mode": codes.Mode,
    "ErrTsk": codes.Task,
    "ErrWhy": codes.Cause,
    "TskOff": codes.Task,
    "CrashTsk": codes.Task,
    "CrashWhy": codes.Cause,
    "Cmd": codes.Command,
    "CmdRes": codes.CommandResult,
}


def doc(model_id: int, name: str, in_cell: bool = False) -> "tuple[str, str]":
    """``(unit, meaning)`` of one point; ``KeyError`` where there is none."""
    if in_cell:
        return _CELL_POINTS[model_id][name]
    if name[-3:] == "_SF":
        return ("", "Power of ten of the points that name it.")
    for table in (_POINTS[model_id], _HEADER, _STAMP):
        if name in table:
            return table[name]
    raise KeyError(name)


def symbols(model_id: int, name: str) -> "dict[int, str]":
    """``{number: "NAME"}`` of an enumeration of ours, ``{bit: "NAME"}`` of a bit field."""
    if model_id not in models.OURS:
        return {}
    if name in ("Sw", "SwOff"):  # codes.Switch holds masks: 1, 2, 4, 8
        masks = codes.names(codes.Switch)
        return {mask.bit_length() - 1: masks[mask] for mask in sorted(masks)}
    if name not in SYMBOLS:
        return {}
    known = codes.names(SYMBOLS[name])
    return {number: known[number] for number in sorted(known)}
