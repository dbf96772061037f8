"""What a battery can, learned from what it did: near full and near empty its power falls, and others do the rest."""

from taihu.control.obedience import NEARLY_EMPTY, NEARLY_FULL

_STEP = 0.02  # of its power: what it is asked for beyond what it did, to see whether it can more
_TOLERANCE = 0.01  # of its power: so near it did as it was told


class Taper:
    """The most that one battery charges and discharges (kW, both at least 0).

    Elsewhere than near full and near empty it can all that its power is: one that does less there does not obey.

    >>> taper = Taper(5.0)
    >>> taper.see((4.0, 4.5), 2.0, 0.95)
    >>> taper.within(-5.0, 5.0)
    (-5.0, 2.1)
    >>> taper.see((2.1, 2.1), 2.1, 0.95)
    >>> taper.within(-5.0, 5.0)
    (-5.0, 2.2)
    >>> taper.see((2.2, 2.2), 2.2, 0.5)
    >>> taper.within(-5.0, 5.0)
    (-5.0, 5.0)
    """

    def __init__(self, power_kw: float) -> None:
        self._power_kw = power_kw
        self._charge_kw = self._discharge_kw = power_kw

    def see(self, told_kw: tuple[float, float], does_kw: float, charge: float) -> None:
        """It does so, and may follow any of what it was told from the least to the most; one reading counts once.

        Args:
            charge: of 0 to 1.
        """
        least, most = told_kw
        if charge < NEARLY_FULL:
            self._charge_kw = self._power_kw
        elif least > 0:
            self._charge_kw = self._after(self._charge_kw, least, does_kw)
        if charge > NEARLY_EMPTY:
            self._discharge_kw = self._power_kw
        elif most < 0:
            self._discharge_kw = self._after(self._discharge_kw, -most, -does_kw)

    def within(self, low_kw: float, high_kw: float) -> tuple[float, float]:
        """A corridor, no wider than what it can."""
        return max(low_kw, -self._discharge_kw), min(high_kw, self._charge_kw)

    def _after(self, most_kw: float, told_kw: float, does_kw: float) -> float:
        """What is the most after it was told to do so much at least, and did that."""
        if does_kw < told_kw - _TOLERANCE * self._power_kw:
            most_kw = max(0.0, does_kw)
        elif does_kw < most_kw - _TOLERANCE * self._power_kw:
            return most_kw  # it was not told to do all that it can
        return min(self._power_kw, most_kw + _STEP * self._power_kw)
