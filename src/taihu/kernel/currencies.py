"""Currencies in which prices may be: the codes of ISO 4217 that are money today."""

import re

_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ "
    "GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR "
    "LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN "
    "PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW "
    "ZWG"
)
CURRENCIES = frozenset(_CODES.split())
_ANNOTATION = re.compile(r"\{([A-Z]{3})\}")


def currency_in(unit: str | None) -> str:
    """The currency that a unit is annotated with, as UCUM has none of its own; empty where it is with none.

    >>> currency_in("{USD}/(kW.h)"), currency_in("1/(kW.h)"), currency_in("g{CO2}/(kW.h)")
    ('USD', '', '')
    """
    found = _ANNOTATION.search(unit or "")
    return found[1] if found and found[1] in CURRENCIES else ""
