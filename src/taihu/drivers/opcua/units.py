"""Engineering units: the codes of UNECE Recommendation 20, which OPC UA packs into EUInformation.UnitId, as UCUM."""

from taihu.kernel.units import alias

UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"

_CODES = {
    "C62": "1", "P1": "%", "59": "[ppm]", "61": "[ppb]", "H87": "{piece}", "EA": "{piece}",
    "CEL": "Cel", "FAH": "[degF]", "KEL": "K",
    "MTR": "m", "KMT": "km", "CMT": "cm", "MMT": "mm", "4H": "um", "INH": "[in_i]", "FOT": "[ft_i]", "SMI": "[mi_i]",
    "MTK": "m2", "CMK": "cm2", "MMK": "mm2", "MTQ": "m3", "DMQ": "dm3", "CMQ": "cm3",
    "LTR": "L", "MLT": "mL", "HLT": "hL",
    "SEC": "s", "C26": "ms", "B98": "us", "MIN": "min", "HUR": "h", "DAY": "d",
    "MTS": "m/s", "KMH": "km/h", "MSK": "m/s2", "2A": "rad/s", "RPM": "{rev}/min",
    "KGM": "kg", "GRM": "g", "MGM": "mg", "TNE": "t", "LBR": "[lb_av]", "ONZ": "[oz_av]",
    "NEW": "N", "B47": "kN", "NU": "N.m", "B48": "kN.m",
    "PAL": "Pa", "A97": "hPa", "KPA": "kPa", "MPA": "MPa", "BAR": "bar", "MBR": "mbar", "ATM": "atm", "PS": "[psi]",
    "JOU": "J", "KJO": "kJ", "3B": "MJ", "GV": "GJ",
    "WHR": "W.h", "KWH": "kW.h", "MWH": "MW.h", "GWH": "GW.h", "WTT": "W", "C31": "mW", "KWT": "kW",
    "MAW": "MW", "A90": "GW",
    "D46": "V.A", "KVA": "kV.A", "MVA": "MV.A", "D44": "var", "KVR": "kvar", "K3": "kvar.h",
    "VLT": "V", "2Z": "mV", "KVT": "kV", "AMP": "A", "4K": "mA", "B84": "uA", "B22": "kA", "AMH": "A.h", "E09": "mA.h",
    "OHM": "Ohm", "B49": "kOhm", "B75": "MOhm", "SIE": "S", "FAR": "F", "4O": "uF", "C41": "nF", "COU": "C",
    "81": "H", "C14": "mH", "WEB": "Wb", "D33": "T", "D10": "S/m", "G42": "uS/cm",
    "HTZ": "Hz", "KHZ": "kHz", "MHZ": "MHz", "A86": "GHz",
    "MQH": "m3/h", "MQS": "m3/s", "L2": "L/min", "G51": "L/s", "E32": "L/h",
    "KGS": "kg/s", "E93": "kg/h", "F31": "kg/min",
    "KMQ": "kg/m3", "GL": "g/L", "GP": "mg/m3", "C34": "mol", "Q30": "[pH]",
    "LUX": "lx", "LUM": "lm", "CDL": "cd", "D54": "W/m2", "2N": "dB", "DD": "deg", "C81": "rad",
    "AD": "By", "2P": "kBy", "4L": "MBy", "E34": "GBy", "A99": "bit",
}  # fmt: skip


def unit_of(namespace: str, unit_id: int, shown: str) -> str | None:
    """The UCUM code of an EUInformation; None where nobody can say, and the unit stays undeclared (§2).

    >>> unit_of(UNECE, 4408652, "°C"), unit_of("urn:maker", 7, "kWh"), unit_of("urn:maker", 7, "jugs")
    ('Cel', 'kW.h', None)
    """
    if namespace in (UNECE, "") and 0 < unit_id < 1 << 32:
        code = unit_id.to_bytes(4, "big").lstrip(b"\0").decode("ascii", "replace")
        if code in _CODES:
            return _CODES[code]
    return alias(shown or "")


def unece_of(ucum: str) -> int:
    """The UnitId of a UCUM code; -1, which is the standard's word for none, where the table has it not."""
    code = _UNECE.get(ucum)
    return -1 if code is None else int.from_bytes(code.encode("ascii"), "big")


_UNECE = {unit: code for code, unit in reversed(_CODES.items())}
