"""BACnet's engineering units (ANSI/ASHRAE 135, clause 21) as UCUM codes; one that is absent here is undeclared."""

UNITS: dict[int, str] = {
    # area, length, volume
    0: "m2", 116: "cm2", 31: "m", 30: "mm", 118: "cm", 193: "km", 194: "um", 33: "[ft_i]", 32: "[in_i]",
    80: "m3", 79: "[cft_i]", 82: "L", 197: "mL", 83: "[gal_us]",
    # electricity
    3: "A", 2: "mA", 5: "V", 6: "kV", 7: "MV", 124: "mV", 4: "Ohm", 122: "kOhm", 123: "MOhm", 145: "mOhm",
    8: "VA", 9: "kVA", 10: "MVA", 11: "var", 12: "kvar", 13: "Mvar", 15: "1", 27: "Hz", 129: "kHz", 130: "MHz",
    173: "S", 202: "mS", 190: "uS", 174: "S/m", 170: "F", 171: "H", 175: "T", 178: "Wb", 177: "V/m",
    # power and energy
    47: "W", 48: "kW", 49: "MW", 132: "mW", 51: "[HP]", 16: "J", 17: "kJ", 126: "MJ",
    18: "W.h", 19: "kW.h", 146: "MW.h", 203: "var.h", 204: "kvar.h", 205: "Mvar.h",
    239: "VA.h", 240: "kVA.h", 241: "MVA.h", 35: "W/m2", 137: "kW.h/m2", 139: "MJ/m2",
    # temperature
    62: "Cel", 63: "K", 64: "[degF]", 121: "K", 181: "K/h", 182: "K/min",
    # pressure and force
    53: "Pa", 54: "kPa", 133: "hPa", 134: "mbar", 55: "bar", 56: "[psi]", 57: "cm[H2O]",
    206: "mm[H2O]", 59: "mm[Hg]", 60: "cm[Hg]", 153: "N", 160: "N.m",
    # flow, speed, mass
    135: "m3/h", 165: "m3/min", 85: "m3/s", 136: "L/h", 88: "L/min", 87: "L/s", 84: "[cft_i]/min", 191: "[cft_i]/h",
    89: "[gal_us]/min", 192: "[gal_us]/h", 74: "m/s", 75: "km/h", 163: "m/min", 164: "m/h", 76: "[ft_i]/s",
    77: "[ft_i]/min", 78: "[mi_i]/h", 166: "m/s2", 39: "kg", 195: "g", 196: "mg", 40: "[lb_av]", 41: "t",
    42: "kg/s", 43: "kg/min", 44: "kg/h", 154: "g/s", 155: "g/min", 186: "kg/m3", 217: "g/m3", 218: "mg/m3",
    219: "ug/m3", 214: "g/L", 215: "mg/L", 216: "ug/L", 28: "g/kg", 210: "g/kg",
    # light, radiation, angle
    36: "lm", 37: "lx", 179: "cd", 180: "cd/m2", 90: "deg", 14: "deg", 103: "rad", 222: "Bq", 225: "Gy", 228: "Sv",
    # time and frequency
    70: "d", 71: "h", 72: "min", 73: "s", 159: "ms", 69: "wk", 104: "{rev}/min", 131: "/h", 100: "/min", 101: "/s",
    25: "{cycle}/h", 26: "{cycle}/min",
    # shares
    95: "1", 98: "%", 29: "%", 96: "[ppm]", 97: "[ppb]", 207: "[ppth]", 99: "%/s",
}  # fmt: skip
