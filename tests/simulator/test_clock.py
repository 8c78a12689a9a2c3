from __future__ import annotations

import math

import pytest

from pixxel_provider.simulator.clock import SimulatedClock, frozen


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, 1e12])
def test_the_clock_only_advances_by_sensible_times(seconds: float) -> None:
    clock = SimulatedClock(frozen(5.0))
    with pytest.raises(ValueError, match=r"^seconds: must be"):
        clock.advance(seconds)
    assert clock.now() == 5.0
