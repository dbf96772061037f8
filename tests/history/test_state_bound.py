"""§6: a text property that is ever another text is no state; asking for its windows takes no memory by the gigabyte."""

import numpy as np
import pytest

from taihu.history.frame import Cells
from taihu.history.windowing import roll
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import LimitError
from taihu.things.property import DataType, Kind, Property

COUNT = 20_000


def test_many_states_in_many_windows_are_refused() -> None:
    definition = Property(name="log", kind=Kind.STATE, data_type=DataType.STRING)
    texts = np.array([f'"line {number}"' for number in range(COUNT)], np.object_)
    edges = np.arange(0, (COUNT + 1) * NS_PER_S, NS_PER_S)
    observed = edges[:-1]
    with pytest.raises(LimitError, match="20000 states"):
        roll(definition, edges, observed, Cells(text=texts), COUNT * NS_PER_S)
    assert len(roll(definition, edges[:2], observed, Cells(text=texts), COUNT * NS_PER_S)) == 1
