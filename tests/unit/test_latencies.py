"""The last minute's latencies: all records of it, quantiles beside numpy's over the bare numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dashboards.counts import Latencies, Latency

NOW = 1_795_000_000.0


def test_all_records_of_the_last_minute_count_however_many() -> None:
    """1,000 records a second for 60 s, of which the first two seconds' waited for 3 s: more than 1 %, and long ago."""
    rng = np.random.default_rng(1)
    numbers = np.concatenate([np.full(2_000, 3.0), rng.lognormal(np.log(0.02), 0.5, 58_000)])
    latencies = Latencies()
    for index, number in enumerate(numbers):
        latencies.add(NOW + index / 1000, float(number))
    seen = latencies.latency(NOW + 60)
    assert (seen.samples, seen.least) == (60_000, numbers.min())
    assert seen.p50 == pytest.approx(np.quantile(numbers, 0.5), rel=0.015)
    assert seen.p99 == pytest.approx(3.0, rel=0.01)
    later = latencies.latency(NOW + 63)
    assert later.samples == 57_000
    assert later.p99 == pytest.approx(np.quantile(numbers[3_000:], 0.99), rel=0.02)


@pytest.mark.parametrize("seconds", [0.00011, 0.001, 0.0173, 1.0, 59.9, 86_400.0])
def test_a_latency_is_told_within_a_hundredth(seconds: float) -> None:
    latencies = Latencies()
    latencies.add(NOW, seconds)
    seen = latencies.latency(NOW + 1)
    assert (seen.p50, seen.p99) == (pytest.approx(seconds, rel=0.01), pytest.approx(seconds, rel=0.01))


def test_a_clock_ahead_is_told_as_it_is_in_the_least_and_as_nothing_else() -> None:
    latencies = Latencies()
    for seconds in (-2.0, 0.0, 0.00005):
        latencies.add(NOW, seconds)
    assert latencies.latency(NOW + 1) == Latency(0.0, 0.0, 3, -2.0)


def test_after_a_minute_of_silence_there_is_none() -> None:
    latencies = Latencies()
    latencies.add(NOW, 0.5)
    assert latencies.latency(NOW + 60).samples == 1
    assert latencies.latency(NOW + 62) == Latency()
