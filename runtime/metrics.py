"""Counters, gauges and histograms, exported in Prometheus' text format.

    requests = registry.counter("apiserver_request_total", "Requests answered.", ("verb", "code"))
    requests.labels("GET", "200").inc()

Keep what `labels` returns where it is hot: counting is then an addition. prometheus_client writes the text, and is only
imported for that. One event loop, so nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

# Seconds; those of prometheus_client.
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Counter:
    """Only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        if amount < 0:
            raise ValueError(f"a counter only grows, not by {amount}")
        self.value += amount


class Gauge:
    """Goes up and down, or is read from a function when exported."""

    __slots__ = ("_function", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._function: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        return self._value if self._function is None else float(self._function())

    def set(self, value: float) -> None:
        self._value = value

    def inc(self, amount: float = 1.0) -> None:
        self._value += amount

    def dec(self, amount: float = 1.0) -> None:
        self._value -= amount

    def set_function(self, function: Callable[[], float]) -> None:
        self._function = function


class Histogram:
    """Counts observations by bucket; `buckets` are upper bounds, ascending, without the infinite one."""

    __slots__ = ("buckets", "counts", "sum")

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        self.counts = [0] * (len(self.buckets) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.buckets, value)] += times
        self.sum += value * times


M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """The metrics of one name, one for each tuple of label values that was asked for."""

    def __init__(self, name: str, help: str, labels: Sequence[str], make: Callable[[], M]) -> None:
        self.name = name
        self.help = help
        self.label_names = tuple(labels)
        self._make: Callable[[], M] = make
        self._metrics: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """Raises ValueError when there are not as many values as label names."""
        metric = self._metrics.get(values)
        if metric is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)} of them: {values}")
            metric = self._metrics[values] = self._make()
        return metric

    def adopt(self, values: tuple[str, ...], metric: M) -> None:
        """Shows a metric that somebody else keeps."""
        self._metrics[values] = metric

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], M]]:
        return iter(sorted(self._metrics.items(), key=lambda item: item[0]))


class Registry:
    """The metrics of one process. A name asked for again gives the same family; ValueError if its kind differs."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[type, Family[Any]]] = {}

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Family[Counter]:
        return self._family(Counter, name, help, labels, Counter)

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Family[Gauge]:
        return self._family(Gauge, name, help, labels, Gauge)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Family[Histogram]:
        if list(buckets) != sorted(set(buckets)):
            raise ValueError(f"{name}: buckets must ascend: {buckets}")
        return self._family(Histogram, name, help, labels, lambda: Histogram(buckets))

    def _family(self, kind: type[M], name: str, help: str, labels: Sequence[str], make: Callable[[], M]) -> Family[M]:
        known = self._families.get(name)
        if known is not None:
            if known[0] is not kind or known[1].label_names != tuple(labels):
                raise ValueError(f"metric {name} is a {known[0].__name__} with labels {known[1].label_names} already")
            return known[1]
        family: Family[M] = Family(name, help, labels, make)
        self._families[name] = (kind, family)
        return family

    def collect(self) -> Iterator[Any]:
        """The families as prometheus_client's (its collector protocol). Labels are in order, as Go has them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for _, (kind, family) in sorted(self._families.items()):
            order = sorted(range(len(family.label_names)), key=family.label_names.__getitem__)
            names = [family.label_names[position] for position in order]
            if kind is Counter:
                out: Any = CounterMetricFamily(family.name, family.help, labels=names)
            elif kind is Gauge:
                out = GaugeMetricFamily(family.name, family.help, labels=names)
            else:
                out = HistogramMetricFamily(family.name, family.help, labels=names)
            for given, metric in family:
                values = [given[position] for position in order]
                if isinstance(metric, Histogram):
                    out.add_metric(values, _cumulative(metric), metric.sum)
                else:
                    out.add_metric(values, metric.value)
            yield out

    def text(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The text family by family, for those who let others have their turn in between."""
        from prometheus_client import CollectorRegistry, generate_latest

        for family in self.collect():
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Collected(family))
            yield generate_latest(registry)


class _Collected:
    """A collector of one family."""

    def __init__(self, family: Any) -> None:
        self._family = family

    def collect(self) -> Iterator[Any]:
        yield self._family


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    from prometheus_client.utils import floatToGoString

    total = 0
    pairs = []
    for bound, count in zip((*histogram.buckets, float("inf")), histogram.counts, strict=True):
        total += count
        pairs.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
    return pairs
