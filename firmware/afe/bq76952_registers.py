"""Where things stand in the TI BQ76952, and in which unit. Data only.

Sources: TI SLUUBY2B (technical reference manual), SLUAA11B (communication). "Word" is two bytes;
everything is little-endian.
"""

from common.mp import const

ADDRESS = const(0x08)  # 7 bits: 0x10 to write, 0x11 to read
DEVICE = const(0x7695)  # what DEVICE_NUMBER answers

# --- direct commands ------------------------------------------------------------------------
SAFETY_ALERT_A = const(0x02)  # first of the block 0x02..0x13: status of everything
STATUS_BYTES = const(18)
SAFETY_STATUS_A = const(0x03)
SAFETY_STATUS_B = const(0x05)
SAFETY_STATUS_C = const(0x07)
PF_STATUS_A = const(0x0B)
PF_STATUS_B = const(0x0D)
PF_STATUS_C = const(0x0F)
PF_STATUS_D = const(0x11)
BATTERY_STATUS = const(0x12)  # word
CELL_1 = const(0x14)  # first of 16 words, mV; ends with CC2_CURRENT
VOLTAGE_BYTES = const(40)
STACK_VOLTAGE = const(0x34)  # word, user volts (10 mV)
CC2_CURRENT = const(0x3A)  # signed word, user amps, positive when charging
SUBCOMMAND = const(0x3E)  # word; behind it 32 bytes of data at 0x40
CHECKSUM = const(0x60)  # byte; behind it the length at 0x61
INT_TEMPERATURE = const(0x68)  # word, 0.1 K; first of the block 0x68..0x7F
TEMPERATURE_BYTES = const(24)
FET_STATUS = const(0x7F)

# bits of the Battery Status
CFGUPDATE = const(0x0001)
POR = const(0x0008)
WD = const(0x0010)
SECURITY_SHIFT = const(8)  # two bits: 0 not ready, 1 full access, 2 unsealed, 3 sealed
SEALED = const(3)

# bits of the FET Status: 1 = on
FET_CHG = const(0x01)
FET_PCHG = const(0x02)
FET_DSG = const(0x04)
FET_PDSG = const(0x08)

# --- subcommands ----------------------------------------------------------------------------
DEVICE_NUMBER = const(0x0001)  # reads a word
FET_ENABLE = const(0x0022)  # toggles FET_EN
PF_ENABLE = const(0x0024)  # toggles PF_EN
MFG_STATUS = const(0x0057)  # reads a word
DASTATUS6 = const(0x0076)  # reads charge i32 (user Ah), its fraction u32 (/2^32), time u32 (s) ...
CB_ACTIVE_CELLS = const(0x0083)  # reads and writes a word: a bit per input
SET_CFGUPDATE = const(0x0090)
EXIT_CFGUPDATE = const(0x0092)
ALL_FETS_OFF = const(0x0095)
FET_CONTROL = const(0x0097)  # writes a byte
SWAP_COMM_MODE = const(0x29BC)

# bits of the manufacturing status
FET_EN = const(0x0010)
PF_EN = const(0x0040)

# bits of FET_CONTROL: 1 = forced off (neither the order nor the sense of the FET Status)
DSG_OFF = const(0x01)
PDSG_OFF = const(0x02)
CHG_OFF = const(0x04)
PCHG_OFF = const(0x08)

# --- data memory: (name, address, struct code, lowest, highest) -------------------------------
_WORD = const(0xFFFF)

CC_GAIN = ("CC Gain", 0x91A8, "f", 1.0e-2, 1.0e2)  # 7.5684 / shunt in milliohm
CAPACITY_GAIN = ("Capacity Gain", 0x91AC, "f", 2.98262e3, 4.193046e8)  # CC Gain x 298261.6178
POWER_CONFIG = ("Power Config", 0x9234, "H", 0, _WORD)
COMM_TYPE = ("Comm Type", 0x9239, "B", 0, 0x1F)
PROTECTION_CONFIGURATION = ("Protection Configuration", 0x925F, "H", 0, 0x07FF)
ENABLED_PROTECTIONS_A = ("Enabled Protections A", 0x9261, "B", 0, 255)
ENABLED_PROTECTIONS_B = ("Enabled Protections B", 0x9262, "B", 0, 255)
ENABLED_PROTECTIONS_C = ("Enabled Protections C", 0x9263, "B", 0, 255)
CHG_FET_PROTECTIONS_A = ("CHG FET Protections A", 0x9265, "B", 0, 255)
CHG_FET_PROTECTIONS_B = ("CHG FET Protections B", 0x9266, "B", 0, 255)
CHG_FET_PROTECTIONS_C = ("CHG FET Protections C", 0x9267, "B", 0, 255)
DSG_FET_PROTECTIONS_A = ("DSG FET Protections A", 0x9269, "B", 0, 255)
DSG_FET_PROTECTIONS_B = ("DSG FET Protections B", 0x926A, "B", 0, 255)
DSG_FET_PROTECTIONS_C = ("DSG FET Protections C", 0x926B, "B", 0, 255)
CUV_THRESHOLD = ("CUV Threshold", 0x9275, "B", 20, 90)  # 50.6 mV
CUV_DELAY = ("CUV Delay", 0x9276, "H", 1, 2047)  # 3.3 ms x (2 + n)
COV_THRESHOLD = ("COV Threshold", 0x9278, "B", 20, 110)  # 50.6 mV
COV_DELAY = ("COV Delay", 0x9279, "H", 1, 2047)  # 3.3 ms x (2 + n)
CUV_HYSTERESIS = ("CUV Recovery Hysteresis", 0x927B, "B", 2, 20)  # 50.6 mV
COV_HYSTERESIS = ("COV Recovery Hysteresis", 0x927C, "B", 2, 20)  # 50.6 mV
OCC_THRESHOLD = ("OCC Threshold", 0x9280, "B", 2, 62)  # 2 mV across the shunt
OCC_DELAY = ("OCC Delay", 0x9281, "B", 1, 127)  # 6.6 ms + 3.3 ms x n
OCD1_THRESHOLD = ("OCD1 Threshold", 0x9282, "B", 2, 100)
OCD1_DELAY = ("OCD1 Delay", 0x9283, "B", 1, 127)
OCD2_THRESHOLD = ("OCD2 Threshold", 0x9284, "B", 2, 100)
OCD2_DELAY = ("OCD2 Delay", 0x9285, "B", 1, 127)
SCD_THRESHOLD = ("SCD Threshold", 0x9286, "B", 0, 15)  # index into SCD_MV
SCD_DELAY = ("SCD Delay", 0x9287, "B", 1, 31)  # 15 us x (n - 1)
OCC_RECOVERY = ("OCC Recovery Threshold", 0x9288, "h", -0x8000, 0x7FFF)  # mA
OCD3_THRESHOLD = ("OCD3 Threshold", 0x928A, "h", -0x8000, 0)  # user amps
OCD3_DELAY = ("OCD3 Delay", 0x928C, "B", 0, 255)  # s
OCD_RECOVERY = ("OCD Recovery Threshold", 0x928D, "h", -0x8000, 0x7FFF)  # mA
OTC_THRESHOLD = ("OTC Threshold", 0x929A, "b", -40, 120)  # degC, as all the temperatures
OTC_RECOVERY = ("OTC Recovery", 0x929C, "b", -40, 120)
OTD_THRESHOLD = ("OTD Threshold", 0x929D, "b", -40, 120)
OTD_RECOVERY = ("OTD Recovery", 0x929F, "b", -40, 120)
OTF_THRESHOLD = ("OTF Threshold", 0x92A0, "b", 0, 127)
OTF_RECOVERY = ("OTF Recovery", 0x92A2, "b", 0, 127)
UTC_THRESHOLD = ("UTC Threshold", 0x92A6, "b", -40, 120)
UTC_RECOVERY = ("UTC Recovery", 0x92A8, "b", -40, 120)
UTD_THRESHOLD = ("UTD Threshold", 0x92A9, "b", -40, 120)
UTD_RECOVERY = ("UTD Recovery", 0x92AB, "b", -40, 120)
HWD_DELAY = ("Host Watchdog Delay", 0x92B2, "H", 0, _WORD)  # s
DA_CONFIGURATION = ("DA Configuration", 0x9303, "B", 0, 255)
VCELL_MODE = ("VCell Mode", 0x9304, "H", 0, _WORD)  # a bit per input
FET_OPTIONS = ("FET Options", 0x9308, "B", 0, 255)
PREDISCHARGE_TIMEOUT = ("Predischarge Timeout", 0x930E, "B", 0, 255)  # 10 ms; 0: none
PREDISCHARGE_DELTA = ("Predischarge Stop Delta", 0x930F, "B", 0, 255)  # 10 mV
DSG_CURRENT_THRESHOLD = ("Dsg Current Threshold", 0x9310, "h", 0, 0x7FFF)  # user amps
CHG_CURRENT_THRESHOLD = ("Chg Current Threshold", 0x9312, "h", 0, 0x7FFF)  # user amps
BALANCING_CONFIGURATION = ("Balancing Configuration", 0x9335, "B", 0, 255)
BALANCING_MIN_TEMPERATURE = ("Balancing Min Cell Temp", 0x9336, "b", -128, 127)  # degC
BALANCING_MAX_TEMPERATURE = ("Balancing Max Cell Temp", 0x9337, "b", -128, 127)  # degC
BALANCING_MAX_INTERNAL = ("Balancing Max Internal Temp", 0x9338, "b", -128, 127)  # degC
BALANCING_INTERVAL = ("Cell Balance Interval", 0x9339, "B", 1, 255)  # s
MFG_STATUS_INIT = ("Mfg Status Init", 0x9343, "H", 0, _WORD)

SCD_MV = (10, 20, 40, 60, 80, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500)

# pins that can carry a thermistor: name -> (address of the pin's setting, direct command, 0.1 K)
THERMISTOR_PINS = {
    "CFETOFF": (0x92FA, 0x6A),
    "DFETOFF": (0x92FB, 0x6C),
    "ALERT": (0x92FC, 0x6E),
    "TS1": (0x92FD, 0x70),
    "TS2": (0x92FE, 0x72),
    "TS3": (0x92FF, 0x74),
    "HDQ": (0x9300, 0x76),
    "DCHG": (0x9301, 0x78),
    "DDSG": (0x9302, 0x7A),
}
PIN_UNUSED = const(0x00)
PIN_CELL = const(0x07)  # 10 k NTC with the 18 k pull-up; cell temperature, for the protections
PIN_REPORT = const(0x0B)  # the same, measured only
PIN_FET = const(0x0F)  # the same, FET temperature, for the protections

# bits of the three protection bytes; the same in Safety Status, Enabled and CHG/DSG FET ...
CUV = const(0x04)  # A
COV = const(0x08)
OCC = const(0x10)
OCD1 = const(0x20)
OCD2 = const(0x40)
SCD = const(0x80)
UTC = const(0x01)  # B
UTD = const(0x02)
UTINT = const(0x04)
OTC = const(0x10)
OTD = const(0x20)
OTINT = const(0x40)
OTF = const(0x80)
HWDF = const(0x02)  # C
PTO = const(0x04)
COVL = const(0x10)
OCDL = const(0x20)
SCDL = const(0x40)
OCD3 = const(0x80)
