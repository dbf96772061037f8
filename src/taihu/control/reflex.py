"""The fast layer: a battery's setpoint from what the meter sees now, inside the corridor of a plan."""

STEP_KW = 0.01


def setpoint(net_kw: float, battery_kw: float, low_kw: float, high_kw: float) -> float:
    """The power (kW, charging is positive) that brings the meter to zero, as far as the corridor goes.

    Args:
        net_kw: what the meter sees, the battery with it.
        battery_kw: what the battery takes now.
        low_kw: the lower edge of the corridor.
        high_kw: the upper edge.

    >>> setpoint(net_kw=-1.5, battery_kw=0.5, low_kw=-5.0, high_kw=5.0)
    2.0
    >>> setpoint(net_kw=2.0, battery_kw=0.0, low_kw=0.0, high_kw=5.0)
    0.0
    """
    wanted = battery_kw - net_kw
    return round(min(max(wanted, low_kw), high_kw) / STEP_KW) * STEP_KW + 0.0


class Obedience:
    """Whether a device does what it is told: several answers in a row that are far off say that it does not."""

    def __init__(self, tolerance_kw: float, strikes_max: int = 6) -> None:
        self._tolerance_kw = tolerance_kw
        self._strikes_max = strikes_max
        self._strikes = 0

    @property
    def obeys(self) -> bool:
        """Whether it is to be told more."""
        return self._strikes < self._strikes_max

    def see(self, told_kw: float, power_kw: float, charge: float) -> None:
        """Take over what it was told, what it does, and its state of charge (0 to 1).

        A battery that is nearly full or empty may do less than it is told.
        """
        less = abs(power_kw) <= abs(told_kw) and power_kw * told_kw >= 0
        excused = less and (charge > 0.8 if told_kw > 0 else charge < 0.1)
        if abs(told_kw - power_kw) <= self._tolerance_kw or excused:
            self._strikes = 0
        else:
            self._strikes += 1

    def forgive(self) -> None:
        """Try it again."""
        self._strikes = 0
