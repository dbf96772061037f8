"""Unit names of the SenML registry (RFC 8428 12.1, RFC 8798) and the UCUM codes they mean.

Only the names that UCUM writes otherwise are here. Latitude and longitude are angles; a remaining battery time is in
seconds; counts and ratios are pure numbers, told apart by an annotation.
"""

UNITS = {
    "l": "L",
    "l/s": "L/s",
    "lat": "deg",
    "lon": "deg",
    "pH": "[pH]",
    "dBW": "dB[W]",
    "dBm": "dB{mW}",
    "Bspl": "B[SPL]",
    "count": "{count}",
    "/": "1",
    "%RH": "%",
    "%EL": "%",
    "EL": "s",
    "1/s": "/s",
    "1/min": "/min",
    "beat/min": "{beat}/min",
    "beats": "{beat}",
    "B": "By",
    "VAs": "VA.s",
    "vars": "var.s",
    "NTU": "{NTU}",
    "Ah": "A.h",
    "Wh": "W.h",
    "kWh": "kW.h",
    "varh": "var.h",
    "kvarh": "kvar.h",
    "kVAh": "kVA.h",
    "Wh/km": "W.h/km",
    "KiB": "KiBy",
    "GB": "GBy",
    "B/s": "By/s",
    "MB/s": "MBy/s",
    "ppm": "[ppm]",
    "ppb": "[ppb]",
    "/100": "%",
    "/1000": "10*-3",
}
