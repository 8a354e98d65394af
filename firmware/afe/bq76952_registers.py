"""Where things stand in the TI BQ76952, and in which unit. Data only.

Sources: TI SLUUBY2B (technical reference manual), SLUAA11B (communication); where a page of the
first could not be had, the same page of a sister chip: SLUUBY1B (BQ76942), SLUUCF2C (BQ769142),
SLUUCG7 (BQ76922), SLUUCW9 (BQ76972). Addresses of data memory, ranges and the bits of PF Status
stand alike in three public headers made from the manual's table. "Word" is two bytes; everything
is little-endian. Nothing here was tried on a chip.
"""

from common.mp import const

ADDRESS = const(0x08)  # 7 bits: 0x10 to write, 0x11 to read
# What DEVICE_NUMBER may answer. TI shows 0x7694 for the BQ76942 (SLUAA11B 2.1), which makes 0x7695
# of ours; but 0x7605 for the BQ76905 (SLUAAM4), which would make 0x7652. No page says it outright.
DEVICES = (0x7695, 0x7652)

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

# bits of the Battery Status (SLUUBY1B and SLUUCF2C have the same table)
CFGUPDATE = const(0x0001)
POR = const(0x0008)
WD = const(0x0010)
SECURITY_SHIFT = const(8)  # two bits: 0 not ready, 1 full access, 2 unsealed, 3 sealed
SEALED = const(3)

# bits of the FET Status: 1 = on (SLUUBY2B, direct command 0x7F)
FET_CHG = const(0x01)
FET_PCHG = const(0x02)
FET_DSG = const(0x04)
FET_PDSG = const(0x08)

# --- subcommands ----------------------------------------------------------------------------
DEVICE_NUMBER = const(0x0001)  # reads a word
STATIC_CFG_SIG = const(0x0005)  # reads a word: signature of data memory from the settings on
FET_ENABLE = const(0x0022)  # toggles FET_EN
PF_ENABLE = const(0x0024)  # toggles PF_EN
MFG_STATUS = const(0x0057)  # reads a word
# Reads charge i32 (user Ah), its fraction u32 (/2^32), time u32 (s) and more. Three public headers
# agree; TI's forum (thread 970294) confirms that the fraction is always added.
DASTATUS6 = const(0x0076)
CB_ACTIVE_CELLS = const(0x0083)  # reads and writes a word: a bit per input
SET_CFGUPDATE = const(0x0090)
EXIT_CFGUPDATE = const(0x0092)
ALL_FETS_OFF = const(0x0095)
FET_CONTROL = const(0x0097)  # writes a byte
OCDL_RECOVER = const(0x009B)
SCDL_RECOVER = const(0x009C)
SWAP_COMM_MODE = const(0x29BC)

# bits of the manufacturing status (SLUUBY2B)
FET_EN = const(0x0010)
PF_EN = const(0x0040)

# bits of FET_CONTROL: 1 = forced off, neither the order nor the sense of the FET Status
# (SLUUCW9 gives its table; a public driver of the BQ76952 has the same)
DSG_OFF = const(0x01)
PDSG_OFF = const(0x02)
CHG_OFF = const(0x04)
PCHG_OFF = const(0x08)

# --- data memory: (name, address, struct code, lowest, highest) -------------------------------
_WORD = const(0xFFFF)
_MOST = const(0x7FFF)

CC_GAIN = ("CC Gain", 0x91A8, "f", 1.0e-2, 1.0e2)  # 7.5684 / shunt in milliohm (VREF2 1.24 V)
CAPACITY_GAIN = ("Capacity Gain", 0x91AC, "f", 2.98262e3, 4.193046e8)  # CC Gain x 298261.6178
POWER_CONFIG = ("Power Config", 0x9234, "H", 0, _WORD)
REG12_CONFIG = ("REG12 Config", 0x9236, "B", 0, 255)
REG0_CONFIG = ("REG0 Config", 0x9237, "B", 0, 3)
HWD_REGULATOR = ("HWD Regulator Options", 0x9238, "B", 0, 255)
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
COVL = ("COVL", 0x927D, "B", 0, 255)  # trips to latch, s to forget one, s to recover
OCC_THRESHOLD = ("OCC Threshold", 0x9280, "B", 2, 62)  # 2 mV across the shunt
OCC_DELAY = ("OCC Delay", 0x9281, "B", 1, 127)  # 6.6 ms + 3.3 ms x n
OCD1_THRESHOLD = ("OCD1 Threshold", 0x9282, "B", 2, 100)
OCD1_DELAY = ("OCD1 Delay", 0x9283, "B", 1, 127)
OCD2_THRESHOLD = ("OCD2 Threshold", 0x9284, "B", 2, 100)
OCD2_DELAY = ("OCD2 Delay", 0x9285, "B", 1, 127)
SCD_THRESHOLD = ("SCD Threshold", 0x9286, "B", 0, 15)  # index into SCD_MV
SCD_DELAY = ("SCD Delay", 0x9287, "B", 1, 31)  # 15 us x (n - 1)
OCC_RECOVERY = ("OCC Recovery Threshold", 0x9288, "h", -0x8000, _MOST)  # mA
OCD3_THRESHOLD = ("OCD3 Threshold", 0x928A, "h", -0x8000, 0)  # user amps
OCD3_DELAY = ("OCD3 Delay", 0x928C, "B", 0, 255)  # s
OCD_RECOVERY = ("OCD Recovery Threshold", 0x928D, "h", -0x8000, _MOST)  # mA
OCDL = ("OCDL", 0x928F, "B", 0, 255)  # as COVL
SCD_RECOVERY = ("SCD Recovery Time", 0x9294, "B", 0, 255)  # s
SCDL = ("SCDL", 0x9295, "B", 0, 255)  # as COVL
OTC = ("OTC", 0x929A, "b", -40, 120)  # degC; behind it the delay in s and the recovery in degC
OTD = ("OTD", 0x929D, "b", -40, 120)
OTF = ("OTF", 0x92A0, "B", 0, 150)
OTINT = ("OTINT", 0x92A3, "b", -40, 120)
UTC = ("UTC", 0x92A6, "b", -40, 120)
UTD = ("UTD", 0x92A9, "b", -40, 120)
UTINT = ("UTINT", 0x92AC, "b", -40, 120)
RECOVERY_TIME = ("Recovery Time", 0x92AF, "B", 0, 255)  # s
HWD_DELAY = ("Host Watchdog Delay", 0x92B2, "H", 0, _WORD)  # s
ENABLED_PF_A = ("Enabled PF A", 0x92C0, "B", 0, 255)
ENABLED_PF_B = ("Enabled PF B", 0x92C1, "B", 0, 255)
ENABLED_PF_C = ("Enabled PF C", 0x92C2, "B", 0, 255)
ENABLED_PF_D = ("Enabled PF D", 0x92C3, "B", 0, 255)
CUDEP = ("CUDEP", 0x92C8, "h", 0, _MOST)  # mV; behind each of these stands its delay in s
SUV = ("SUV", 0x92CB, "h", 0, _MOST)  # mV
SOV = ("SOV", 0x92CE, "h", 0, _MOST)  # mV
SOCC = ("SOCC", 0x92D4, "h", -0x8000, _MOST)  # user amps
SOCD = ("SOCD", 0x92D7, "h", -0x8000, _MOST)  # user amps
SOT = ("SOT", 0x92DA, "b", -40, 120)  # degC
SOTF = ("SOTF", 0x92DC, "B", 0, 150)  # degC
VIMR = ("VIMR", 0x92E2, "h", 0, 5500)  # mV
VIMA = ("VIMA", 0x92EB, "h", 0, 5500)  # mV
CFETF = ("CFETF OFF", 0x92EE, "h", 10, 5000)  # mA
DFETF = ("DFETF OFF", 0x92F1, "h", -5000, -10)  # mA
DA_CONFIGURATION = ("DA Configuration", 0x9303, "B", 0, 255)
VCELL_MODE = ("VCell Mode", 0x9304, "H", 0, _WORD)  # a bit per input
FET_OPTIONS = ("FET Options", 0x9308, "B", 0, 255)
PREDISCHARGE_TIMEOUT = ("Predischarge Timeout", 0x930E, "B", 0, 255)  # 10 ms; 0: none
PREDISCHARGE_DELTA = ("Predischarge Stop Delta", 0x930F, "B", 0, 255)  # 10 mV
DSG_CURRENT_THRESHOLD = ("Dsg Current Threshold", 0x9310, "h", 0, _MOST)  # user amps
CHG_CURRENT_THRESHOLD = ("Chg Current Threshold", 0x9312, "h", 0, _MOST)  # user amps
OPEN_WIRE_INTERVAL = ("Cell Open-Wire Check Time", 0x9314, "B", 0, 255)  # s
BALANCING_CONFIGURATION = ("Balancing Configuration", 0x9335, "B", 0, 255)
BALANCING_MIN_TEMPERATURE = ("Balancing Min Cell Temp", 0x9336, "b", -128, 127)  # degC
BALANCING_MAX_TEMPERATURE = ("Balancing Max Cell Temp", 0x9337, "b", -128, 127)  # degC
BALANCING_MAX_INTERNAL = ("Balancing Max Internal Temp", 0x9338, "b", -128, 127)  # degC
BALANCING_INTERVAL = ("Cell Balance Interval", 0x9339, "B", 1, 255)  # s
BALANCING_MAX_CELLS = ("Cell Balance Max Cells", 0x933A, "B", 0, 16)
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
# Bits 1:0 = 3: analogue; 3:2 = what for; 5:4 the polynomial, 7:6 the pull-up, both 0: 18 kilohm
# (SLUUBY1B, TS1 Config)
PIN_UNUSED = const(0x00)
PIN_CELL = const(0x07)  # 10 k NTC with the 18 k pull-up; cell temperature, for the protections
PIN_REPORT = const(0x0B)  # the same, measured only
PIN_FET = const(0x0F)  # the same, FET temperature, for the protections
