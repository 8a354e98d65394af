"""The register map: one table for board, gateway, documentation and the SunSpec JSON files.

A model is ``(id, name, label, points, group, tail)``; a point is ``(name, type, sf, access)``:

* type: SunSpec's, with the length of a string in registers behind a colon (``string:16``);
* sf: power of ten that turns the register into the unit, or the name of the point that holds it;
* access: ``R``, or ``RW`` for what a client may write.

``group`` is ``(name, points)`` and stands once per cell; ``tail`` stands behind it. Units and
meanings are in ``model_docs``, which boards do not load. Models 1, 802 and 805 are SunSpec's
(sunspec/models, Apache-2.0: the layout is theirs, word for word of names and types). Ours:

* begin with the CRC-32 of the serial number and a sequence, and end with the same sequence,
  so that a torn answer, or one of another pack or another time, is seen;
* hold current, and everything signed, as positive when charging.
"""

BASE_ADDRESS = 40000
SUNS = b"SunS"
MAP_VERSION = 2

COMMON = 1
BATTERY = 802
MODULE = 805
SNAPSHOT = 64910
HEALTH = 64911
LIFETIME = 64912
PROTECTION = 64913
DEVICE = 64914
CONTROL = 64915
RECALL = 64916
ENERGY = 64917
TEST = 64918
SETTINGS = 64919
END = 0xFFFF

MAX_CELLS = 72  # what ``Bal``, ``Bal2`` and ``Bal3`` have bits for
N_TEMPERATURES = 4
N_SOC_BINS = 10  # 0-10 % ... 90-100 %
N_TEMPERATURE_BINS = 8  # < 0, 0-10, 10-20, 20-30, 30-40, 40-45, 45-60, > 60 degC


def _p(names: str, kind: str, sf: "int | str | None" = None, access: str = "R") -> "tuple":  # type: ignore[type-arg]
    return tuple((name, kind, sf, access) for name in names.split())


_HEAD = _p("ID L", "uint16")
_STAMP = _p("SnCrc Seq", "uint32")
_TAIL = _p("SeqEnd", "uint32")

_COMMON_POINTS = (
    _HEAD
    + _p("Mn Md", "string:16")
    + _p("Opt Vr", "string:8")
    + _p("SN", "string:16")
    + _p("DA", "uint16", None, "RW")
    + _p("Pad", "pad")
)

_BATTERY_POINTS = (
    _HEAD
    + _p("AHRtg", "uint16", "AHRtg_SF")
    + _p("WHRtg", "uint16", "WHRtg_SF")
    + _p("WChaRteMax WDisChaRteMax", "uint16", "WChaDisChaMax_SF")
    + _p("DisChaRte", "uint16", "DisChaRte_SF")
    + _p("SoCMax SoCMin", "uint16", "SoC_SF")
    + _p("SocRsvMax SoCRsvMin", "uint16", "SoC_SF", "RW")
    + _p("SoC", "uint16", "SoC_SF")
    + _p("DoD", "uint16", "DoD_SF")
    + _p("SoH", "uint16", "SoH_SF")
    + _p("NCyc", "uint32")
    + _p("ChaSt LocRemCtl", "enum16")
    + _p("Hb", "uint16")
    + _p("CtrlHb AlmRst", "uint16", None, "RW")
    + _p("Typ State", "enum16")
    + _p("StateVnd", "enum16")
    + _p("WarrDt", "uint32")
    + _p("Evt1 Evt2 EvtVnd1 EvtVnd2", "bitfield32")
    + _p("V VMax VMin", "uint16", "V_SF")
    + _p("CellVMax", "uint16", "CellV_SF")
    + _p("CellVMaxStr CellVMaxMod", "uint16")
    + _p("CellVMin", "uint16", "CellV_SF")
    + _p("CellVMinStr CellVMinMod", "uint16")
    + _p("CellVAvg", "uint16", "CellV_SF")
    + _p("A", "int16", "A_SF")
    + _p("AChaMax ADisChaMax", "uint16", "AMax_SF")
    + _p("W", "int16", "W_SF")
    + _p("ReqInvState", "enum16")
    + _p("ReqW", "int16", "W_SF")
    + _p("SetOp SetInvState", "enum16", None, "RW")
    + _p("AHRtg_SF WHRtg_SF WChaDisChaMax_SF DisChaRte_SF SoC_SF DoD_SF SoH_SF", "sunssf")
    + _p("V_SF CellV_SF A_SF AMax_SF W_SF", "sunssf")
)

_MODULE_POINTS = (
    _HEAD
    + _p("StrIdx ModIdx NCell", "uint16")
    + _p("SoC", "uint16", "SoC_SF")
    + _p("DoD", "uint16", "DoD_SF")
    + _p("SoH", "uint16", "SoH_SF")
    + _p("NCyc", "uint32")
    + _p("V", "uint16", "V_SF")
    + _p("CellVMax", "uint16", "CellV_SF")
    + _p("CellVMaxCell", "uint16")
    + _p("CellVMin", "uint16", "CellV_SF")
    + _p("CellVMinCell", "uint16")
    + _p("CellVAvg", "uint16", "CellV_SF")
    + _p("CellTmpMax", "int16", "Tmp_SF")
    + _p("CellTmpMaxCell", "uint16")
    + _p("CellTmpMin", "int16", "Tmp_SF")
    + _p("CellTmpMinCell", "uint16")
    + _p("CellTmpAvg", "int16", "Tmp_SF")
    + _p("NCellBal", "uint16")
    + _p("SN", "string:16")
    + _p("SoC_SF SoH_SF DoD_SF V_SF CellV_SF Tmp_SF", "sunssf")
)

_MODULE_CELL = (
    _p("CellV", "uint16", "CellV_SF")
    + _p("CellTmp", "int16", "Tmp_SF")
    + _p("CellSt", "bitfield32")
)

_SNAPSHOT_POINTS = (
    _HEAD
    + _STAMP
    + _p("Boot UpS", "uint32")
    + _p("UpMs", "uint16")
    + _p("Utc", "uint32")
    + _p("TQual St", "enum16")
    + _p("Sw", "bitfield16")
    + _p("Flt Ltc Bal Bal2", "bitfield32")
    + _p("Bal3", "bitfield16")
    + _p("NCell", "uint16")
    + _p("V VStk", "uint32", -3)
    + _p("A", "int32", -3)
    + _p("Soc SocLo SocHi", "uint16", -2)
    + _p("SocSync", "enum16")
    + _p("SocAge", "uint32")
    + _p("Soh SohLo SohHi", "uint16", -2)
    + _p("SohMth", "enum16")
    + _p("SohAge", "uint32")
    + _p("Tmp1 Tmp2 Tmp3 Tmp4 TmpFet TmpAfe", "int16", -1)
)
_SNAPSHOT_CELL = _p("V", "uint16", -3)

_HEALTH_POINTS = (
    _HEAD
    + _STAMP
    + _p("Boot", "uint32")
    + _p("NCell", "uint16")
    + _p("Soh SohLo SohHi", "uint16", -2)
    + _p("Mth Ref Next", "enum16")
    + _p("SohAge", "uint32")
    + _p("SohN", "uint16")
    + _p("Cap CapLo CapHi CapRtg", "uint32", -3)
    + _p("R RLo RHi RRef", "uint32", -6)
    + _p("RMth", "enum16")
    + _p("RPulse", "uint16", -3)
    + _p("RAge", "uint32")
    + _p("Spread SpreadHi", "uint16", -2)
    + _p("Weak", "uint16")
    + _p("WeakZ", "uint16", -1)
    + _p("RestDv", "uint16", -3)
    + _p("RestDvAge", "uint32")
    + _p("Chem", "enum16")
    + _p("Prof", "string:8")
    + _p("ProfCrc", "uint32")
)
_HEALTH_CELL = (
    _p("Soh SohLo SohHi", "uint16", -2)
    + _p("Mth", "enum16")
    + _p("AgeH", "uint16")
    + _p("R RLo RHi", "uint16", -5)
)

_LIFETIME_POINTS = (
    _HEAD
    + _STAMP
    + _p("ChaAh DisAh ChaWh DisWh", "uint32", -1)
    + _p("Fec", "uint32", -2)
    + _p("NDeep NOver", "uint32")
    + _p("HotMin ColdMin HotChaMin ColdChaMin RunMin", "uint32")
    + _p("VMinEver VMaxEver", "uint16", -3)
    + _p("TMinEver TMaxEver", "int16", -1)
    + _p("AChaEver ADisEver", "uint32", -3)
    + _p(" ".join("Soc%d" % n for n in range(N_SOC_BINS)), "uint32")
    + _p(" ".join("Tmp%d" % n for n in range(N_TEMPERATURE_BINS)), "uint32")
)

_PROTECTION_POINTS = (
    _HEAD
    + _STAMP
    + _p("St", "enum16")
    + _p("Sw", "bitfield16")
    + _p("Flt Ltc Wrn", "bitfield32")
    + _p("AfeSta AfePf", "bitfield32")
    + _p("Cov CovRel Cuv CuvRel Cdd", "uint16", -3)
    + _p("Occ Ocd", "uint32", -3)
    + _p("Otc Utc Otd Utd Otf", "int16", -1)
    + _p("Ccl Dcl Cvl", "uint32", -3)
    + _p("CclWhy DclWhy CvlWhy", "enum16")
    + _p("ReqA", "int32", -3)
    + _p("NFlt", "uint16")
    + _p("LastFlt", "uint16")
    + _p("LastFltS", "uint32")
    + _p("LastFltV", "int32")
)

_DEVICE_POINTS = (
    _HEAD
    + _STAMP
    + _p("MapVer", "uint16")
    + _p("ISign", "int16")
    + _p("Boot UpS", "uint32")
    + _p("RstCause", "enum16")
    + _p("Utc", "uint32")
    + _p("TQual", "enum16")
    + _p("Fw Brd Afe", "string:8")
    + _p("CfgCrc AfeSig", "uint32")
    + _p("MeasUs EstUs ComUs ImgUs BalUs TstUs StoUs KeepUs LoopUs Overrun", "uint32")
    + _p("AfeErr RxOk RxBad RxExc", "uint32")
    + _p("MemFree", "uint32")
    + _p("RecEvery RecDepth", "uint16")
    + _p("RecFirst RecLast", "uint32")
    + _p("Mode", "enum16")
    + _p("NErr", "uint32")
    + _p("ErrTsk ErrWhy", "enum16")
    + _p("TskOff", "bitfield16")
    + _p("NCrash", "uint16")
    + _p("CrashTsk CrashWhy", "enum16")
)

_ENERGY_POINTS = (
    _HEAD
    + _STAMP
    + _p("Boot", "uint32")
    + _p("NCell", "uint16")
    + _p("Wh WhLo WhHi", "uint32", -1)
    + _p("WhA", "uint32", -3)
    + _p("P80 P80Lo P80Hi P20 P20Lo P20Hi", "uint32")
    + _p("PwrS", "uint16")
    + _p("EnRef", "enum16")
    + _p("Rte RteLo RteHi", "uint16", -2)
    + _p("RteMth RteRef", "enum16")
    + _p("RteAge", "uint32")
    + _p("SelfDis SelfDisLo SelfDisHi", "uint16", -2)
    + _p("SelfRef", "enum16")
    + _p("SelfAge", "uint32")
    + _p("IOff IOffLo IOffHi", "int32", -6)
    + _p("IOffAge", "uint32")
)
_ENERGY_CELL = (
    _p("Soc SocLo SocHi", "uint16", -2)
    + _p("Dif DifLo DifHi", "int16", -2)
    + _p("Leak LeakLo LeakHi", "int16", -2)
    + _p("Bled", "uint32", -3)
)

_TEST_POINTS = (
    _HEAD
    + _STAMP
    + _p("Boot", "uint32")
    + _p("NCell", "uint16")
    + _p("Tst TstPh TstStop", "enum16")
    + _p("Stp NStp", "uint16")
    + _p("Elap Left", "uint32")
    + _p("EndTst EndStop", "enum16")
    + _p("EndBoot EndUpS EndUtc", "uint32")
    + _p("ResTst ResMth ResRef", "enum16")
    + _p("ResBoot ResUpS ResUtc ResDur", "uint32")
    + _p("ResTmp", "int16", -1)
    + _p("NPul", "uint16")
    + _p("Wid1 Wid2", "uint16")
    + _p("RteC", "uint16", -2)
    + _p("ChaAh DisAh", "uint32", -3)
    + _p("ChaWh DisWh", "uint32", -1)
    + _p("Soh SohLo SohHi", "uint16", -2)
    + _p("MdlCrc", "uint32")
)
_TEST_CELL = (
    _p("Soh SohLo SohHi", "uint16", -2) + _p("Ref", "enum16") + _p("R RLo RHi", "uint16", -5)
)

# Named by their keys in the settings file; a register holds the file's number.
_REMOTE_POINTS = (
    _p("record_every detail_every stack_tolerance_mv spread_mv", "uint16", None, "RW")
    + _p("cov_mv cov_release_mv cuv_mv cuv_release_mv", "uint16", None, "RW")
    + _p("balance_start_mv balance_min_mv balance_max_cells", "uint16", None, "RW")
    + _p("balance_max_dc otc_dc utc_dc otd_dc utd_dc otf_dc", "int16", None, "RW")
    + _p("occ_ma ocd_ma", "uint32", None, "RW")
)
REMOTE = tuple(point[0] for point in _REMOTE_POINTS)  # what may be set over Modbus

_SETTINGS_POINTS = (
    _HEAD
    + _STAMP
    + _p("SetSt SetRes SetSrc", "enum16")
    + _p("Ref1 Ref2", "uint16")
    + _p("Wait", "uint16")
    + _p("NFail FailUtc", "uint32")
    + _p("Sel", "uint16", None, "RW")
    + _p("SelLo SelHi", "int32")
    + _p("Chal1 Chal2 Chal3 Chal4", "uint32")
    + _p("Resp1 Resp2 Resp3 Resp4 Resp5 Resp6 Resp7 Resp8", "uint32", None, "RW")
    + _REMOTE_POINTS
)

_CONTROL_POINTS = (
    _HEAD
    + _p("Cmd", "enum16", None, "RW")
    + _p("CmdRes", "enum16")
    + _p("SetUtc RecSel", "uint32", None, "RW")
    + _p("FltSel", "uint16", None, "RW")
    + _p("FltN", "uint16")
    + _p("FltFirst FltLast", "uint32")
)

MODELS = (
    (COMMON, "common", "Common", _COMMON_POINTS, None, ()),
    (BATTERY, "battery", "Battery Base Model", _BATTERY_POINTS, None, ()),
    (
        MODULE,
        "lithium-ion-module",
        "Lithium-Ion Module Model",
        _MODULE_POINTS,
        ("lithium-ion-module-cell", _MODULE_CELL),
        (),
    ),
    (SNAPSHOT, "snapshot", "Echelon Snapshot", _SNAPSHOT_POINTS, ("Cell", _SNAPSHOT_CELL), _TAIL),
    (HEALTH, "health", "Echelon Health", _HEALTH_POINTS, ("Cell", _HEALTH_CELL), _TAIL),
    (LIFETIME, "lifetime", "Echelon Lifetime", _LIFETIME_POINTS, None, _TAIL),
    (PROTECTION, "protection", "Echelon Protection", _PROTECTION_POINTS, None, _TAIL),
    (DEVICE, "device", "Echelon Device and Time", _DEVICE_POINTS, None, _TAIL),
    (ENERGY, "energy", "Echelon Energy", _ENERGY_POINTS, ("Cell", _ENERGY_CELL), _TAIL),
    (TEST, "test", "Echelon Test", _TEST_POINTS, ("Cell", _TEST_CELL), _TAIL),
    (SETTINGS, "settings", "Echelon Settings", _SETTINGS_POINTS, None, _TAIL),
    (CONTROL, "control", "Echelon Control", _CONTROL_POINTS, None, ()),
    (RECALL, "recall", "Echelon Recall", _SNAPSHOT_POINTS, ("Cell", _SNAPSHOT_CELL), _TAIL),
)

OURS = (SNAPSHOT, HEALTH, LIFETIME, PROTECTION, DEVICE, ENERGY, TEST, SETTINGS, CONTROL, RECALL)


def model(model_id: int) -> "tuple":  # type: ignore[type-arg]
    """The table of one model; ``KeyError`` for an id we do not have."""
    for entry in MODELS:
        if entry[0] == model_id:
            return entry
    raise KeyError(model_id)
