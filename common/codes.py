"""Numbers with a meaning, as they stand in registers; each class is one enumeration or bit field.

MicroPython has no ``enum``: an enumeration is a class of plain integers, and ``names(CLASS)``
gives ``{number: name}``. Once released a number keeps its meaning for ever.
"""


class Chemistry:
    """What the cells are made of."""

    UNKNOWN = 0
    NMC = 1
    LFP = 2
    LCO = 3
    NCA = 4
    LMO = 5


class State:
    """What the pack's controller is doing (``St``)."""

    START = 1  # self-test, switches open
    STANDBY = 2  # healthy, switches open by command
    ON = 3  # charge and discharge allowed
    CHARGE_ONLY = 4  # discharge forbidden (a cell is too low, say)
    DISCHARGE_ONLY = 5  # charge forbidden (a cell is too high, say)
    BLOCKED = 6  # both directions forbidden by faults that may pass
    FAULT = 7  # both forbidden by a latched fault: wants a reset by command
    SERVICE = 8  # switches open by command, and no command but DISCONNECT leaves it
    PRECHARGE = 9  # what hangs on the terminals is charged through a resistor
    OPENING = 10  # limits are 0: the switches open when the current is gone, or soon without
    SHUTDOWN = 11  # switches open until the next start


class Switch:
    """Bits of ``Sw``: what the switches truly are, read back from the AFE."""

    CHARGE = 1
    DISCHARGE = 2
    PRECHARGE = 4
    PREDISCHARGE = 8


class Fault:
    """Bit numbers of ``Flt`` (active now), ``Ltc`` (latched) and ``Wrn`` (warnings).

    There can be no more than 30: small integers of a board have 31 bits, with the sign.
    """

    CELL_OVER_VOLTAGE = 0
    CELL_UNDER_VOLTAGE = 1
    CELL_DEEP_DISCHARGE = 2
    CHARGE_OVER_CURRENT = 3
    DISCHARGE_OVER_CURRENT = 4
    SHORT_CIRCUIT = 5
    CHARGE_OVER_TEMPERATURE = 6
    CHARGE_UNDER_TEMPERATURE = 7
    DISCHARGE_OVER_TEMPERATURE = 8
    DISCHARGE_UNDER_TEMPERATURE = 9
    FET_OVER_TEMPERATURE = 10
    SENSOR_IMPLAUSIBLE = 11
    STACK_MISMATCH = 12
    AFE_COMMUNICATION = 13
    AFE_RESET = 14
    AFE_PROTECTION = 15
    AFE_PERMANENT_FAIL = 16
    MEASUREMENT_STALE = 17
    SWITCH_MISMATCH = 18  # told to close, it stays open
    CONFIGURATION = 19
    STORAGE = 20
    LOOP_OVERRUN = 21
    TEMPERATURE_RISE = 22
    CELL_SPREAD = 23
    OPEN_WIRE = 24
    CURRENT_OFFSET = 25
    SWITCH_WELDED = 26  # told to open, it stays closed, or a current passes it
    PRECHARGE_FAILED = 27
    INSULATION = 28
    CLOCK_INVALID = 29


class TimeQuality:
    """Where the device's UTC came from (``TQual``)."""

    NONE = 0  # never set since boot
    GATEWAY = 1  # set by a gateway since boot


class SocSync:
    """What last re-synchronised the SOC (``SocSync``)."""

    NONE = 0
    RESTORED = 1
    OCV_REST = 2
    FULL_CHARGE = 3
    EMPTY = 4
    MODEL = 5


class Method:
    """What evidence an SOH or resistance stands on (``Mth``)."""

    NONE = 0
    OCV_SWING = 1  # charge between two rested voltages
    CHARGE_WINDOW = 2  # charge between two voltages of a constant-current charge
    FULL_CYCLE = 3  # charge between full and empty
    FUSED = 4  # several of them, weighted by variance
    CURRENT_STEP = 5  # resistance from a step of the current
    PULSE_TEST = 6  # SOH from a commanded train of pulses
    CLOSED_CYCLE = 7  # efficiency from one full charge to the next


class Refusal:
    """Why there is no SOH (``Ref``)."""

    NONE = 0  # not refused: a figure stands
    NO_EVIDENCE = 1  # nothing seen yet
    SWING_TOO_SMALL = 2
    NOT_RESTED = 3
    TEMPERATURE = 4
    FLAT_REGION = 5
    OFFSET = 6  # the current sensor's offset could weigh too much
    RATE = 7
    SOC_JUMP = 8
    TOO_UNCERTAIN = 9
    PROFILE_CHANGED = 10
    TOO_SHORT = 11  # not watched for long enough
    SOC_UNKNOWN = 12
    NO_MODEL = 13  # the cell profile brings none for this
    UNLIKE = 14  # unlike every cell of the calibration
    NOT_CLOSED = 15  # no cycle has come back to where it began
    SOC_OUTSIDE = 16  # the cells' charge is outside what the model was made from


class NextTest:
    """The cheapest step that would give evidence (``Next``)."""

    NONE = 0
    REST = 1  # leave it without current until the cells have settled
    CHARGE_TO_FULL = 2
    DISCHARGE_THEN_REST = 3
    FULL_CYCLE = 4
    WARM_UP = 5
    QUICK_TEST = 6  # a commanded train of pulses: ``Command.START_QUICK_TEST``


class Command:
    """What ``Cmd`` may be told."""

    NONE = 0
    CLEAR_LATCHED = 1
    CONNECT = 2
    DISCONNECT = 3
    START_QUICK_TEST = 4
    START_FULL_TEST = 5
    STOP_TEST = 6
    LEAVE_SAFE_MODE = 7  # starts anew
    START_UPDATE = 8  # starts anew, with the image that was checked
    ABANDON_UPDATE = 9
    SERVICE = 10
    SHUTDOWN = 11


class CommandResult:
    """What ``CmdRes`` answers."""

    NONE = 0
    DONE = 1
    REFUSED_UNSAFE = 2
    REFUSED_UNKNOWN = 3
    REFUSED_BUSY = 4  # a test is running, or settings are being applied; or nothing to be done
    REFUSED_SAFE_MODE = 5  # not done in safe mode


class Test:
    """A commanded test (``Tst``, ``EndTst``, ``ResTst``)."""

    NONE = 0
    QUICK = 1  # a train of pulses: minutes
    FULL = 2  # charge, rest, discharge: hours


class TestPhase:
    """What a commanded test is doing (``TstPh``)."""

    IDLE = 0
    WAITING = 1  # for the cells to rest
    RISING = 2  # a current was asked for and is not there yet
    PULSE = 3
    FALLING = 4  # the current is no longer asked for, but still there
    RELAXING = 5
    DONE = 6
    STOPPED = 7  # see ``TestStop``
    CHARGING = 8
    RESTING = 9  # between charge and discharge
    DISCHARGING = 10
    RECOVERING = 11  # a rest after the discharge


class TestStop:
    """Why a commanded test ended without a result (``TstStop``, ``EndStop``)."""

    NONE = 0
    BY_COMMAND = 1
    FAULT = 2
    NOT_MEASURED = 3
    TEMPERATURE = 4
    NO_CURRENT = 5  # nothing follows the request
    WRONG_CURRENT = 6
    CURRENT_STAYS = 7
    NO_ROOM = 8  # limits allow no current in one of the directions
    NOT_RESTED = 9
    POWER_LOST = 10  # the board started anew while the test ran
    TOO_LONG = 11


class ResetCause:
    """Why the board started (``RstCause``)."""

    UNKNOWN = 0
    POWER_ON = 1
    WATCHDOG = 2
    SOFT = 3
    BROWN_OUT = 4
    PIN = 5


class Mode:
    """How the firmware runs (``Mode``)."""

    NORMAL = 1
    SAFE = 2  # after repeated crashes: measures, protects and serves Modbus, nothing else


class Task:
    """A task of the firmware (``ErrTsk``, ``CrashTsk``), or bit numbers of ``TskOff``."""

    MEASURE = 0
    BALANCE = 1
    ESTIMATE = 2
    TEST = 3
    IMAGE = 4
    SERVE = 5
    STORE = 6
    KEEP = 7
    START = 8  # not a task yet
    GUARD = 9
    SETTINGS = 10
    UPDATE = 11
    HISTORY = 12


class Cause:
    """What went wrong in a task, or ended the firmware (``ErrWhy``, ``CrashWhy``)."""

    NONE = 0
    WATCHDOG = 1
    MEMORY = 2
    BUS = 3  # a device or the flash did not do what it was told
    PROGRAM = 4


class LimitReason:
    """What holds a limit down (``CclWhy``, ``DclWhy``, ``CvlWhy``)."""

    NONE = 0  # the pack's rating
    CELL_VOLTAGE = 1
    TEMPERATURE = 2
    FAULT = 3
    NOT_READY = 4
    STATE_OF_CHARGE = 5
    STATE_OF_HEALTH = 6
    SWITCH_TEMPERATURE = 7
    RECOVERY = 8  # nothing any more: it still rises
    DISCONNECTED = 9  # the switches are open, or about to be, by command
    PRECHARGE = 10


def names(codes: type) -> "dict[int, str]":
    """``{number: "NAME"}`` of one of the classes above."""
    found = {}
    for name in dir(codes):
        value = getattr(codes, name)
        if isinstance(value, int) and name[0] != "_":
            found[value] = name
    return found


def fault_names(bits: int) -> "list[str]":
    """Names of the faults whose bits are set, lowest bit first."""
    known = names(Fault)
    return [known.get(n, "FAULT_" + str(n)) for n in range(32) if bits >> n & 1]
