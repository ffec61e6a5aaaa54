"""/metrics: what kube-apiserver counts, under its names, labels and buckets ("Kubernetes Metrics Reference").

Requests are counted where HTTP ends; those of processes in the same program, which pass no HTTP, are not among them.
What the stores know is in metrics_storage.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from kubeloop.actors.apiserver.path import ResourcePath
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.resource_store import SECONDS_BUCKETS
from kubeloop.actors.apiserver.version import VERSION_INFO
from kubeloop.runtime.metrics import Counter, Gauge, Histogram, Registry

VERBS: Mapping[str, str] = {"create": "POST", "update": "PUT"}  # the others are only written in capitals
CONNECTING = frozenset({"attach", "exec", "log", "portforward", "proxy"})  # subresources of requests that last
RESPONSE_BUCKETS = tuple(1000.0 * 10**power for power in range(7))
EVENT_BUCKETS = tuple(1024.0 * 2**power for power in range(8))
WINDOW_SECONDS = 1.0  # of which the most requests at once are told
_RESOURCE = ("group", "version", "resource")
_REQUEST = ("verb", *_RESOURCE, "subresource", "scope", "component")
_RESULT = ("verb", "dry_run", *_RESOURCE, "subresource", "scope", "component")


class Series(NamedTuple):
    """What one kind of request with one outcome is counted in; `sizes`: of reads only."""

    total: Counter
    seconds: Histogram
    sizes: Histogram | None


class Inflight:
    """The most requests at once within the last second."""

    __slots__ = ("before", "now", "peak", "since")

    def __init__(self) -> None:
        self.now = self.peak = self.before = 0
        self.since = 0.0

    def enter(self, time: float) -> None:
        """`time`: monotonic seconds, as everywhere here."""
        if time - self.since > WINDOW_SECONDS:
            self.before, self.peak, self.since = self.peak, self.now, time
        self.now += 1
        if self.now > self.peak:
            self.peak = self.now

    def most(self, time: float) -> int:
        return max(self.peak, self.before) if time - self.since <= WINDOW_SECONDS else self.now


class EventSizes:
    """How large the lines are that watchers of one resource are sent. A line that a thousand are sent is measured once:
    whoever sends `line` again counts up `times`, another one is given to `add`.
    """

    __slots__ = ("_histogram", "line", "times")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self.line = b""
        self.times = 0

    def add(self, line: bytes) -> None:
        self.settle()
        self.line, self.times = line, 1

    def settle(self) -> None:
        if self.times:
            self._histogram.observe(len(self.line), self.times)
        self.line, self.times = b"", 0


class Use(NamedTuple):
    """A request under way."""

    started: float
    inflight: Inflight | None
    lasting: Gauge | None


class RequestMetrics:
    """`monotonic`: seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.registry = registry = Registry()
        self.monotonic = monotonic
        self._total = registry.counter(
            "apiserver_request_total",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, "
            "scope, component, and HTTP response code.",
            (*_RESULT, "code"),
        )
        self._seconds = registry.histogram(
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
            "subresource, scope and component.",
            _RESULT,
            SECONDS_BUCKETS,
        )
        self._sizes = registry.histogram(
            "apiserver_response_sizes",
            "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope "
            "and component.",
            _REQUEST,
            RESPONSE_BUCKETS,
        )
        self._lasting = registry.gauge(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource,"
            " scope and component. Not all requests are tracked this way.",
            _REQUEST,
        )
        self._event_sizes = registry.histogram(
            "apiserver_watch_events_sizes", "[ALPHA] Watch event size distribution in bytes", _RESOURCE, EVENT_BUCKETS
        )
        self.terminated = registry.counter(
            "apiserver_terminated_watchers_total",
            "[ALPHA] Counter of watchers closed due to unresponsiveness broken by resource type.",
            ("group", "resource"),
        )
        self.slis = Registry()
        self._check = self.slis.gauge(
            "kubernetes_healthcheck",
            "[STABLE] This metric records the result of a single healthcheck.",
            ("name", "type"),
        )
        self._checks = self.slis.counter(
            "kubernetes_healthchecks_total",
            "[STABLE] This metric records the results of all healthcheck.",
            ("name", "status", "type"),
        )
        self._inflight = {"mutating": Inflight(), "readOnly": Inflight()}
        inflight = registry.gauge(
            "apiserver_current_inflight_requests",
            "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in "
            "last second.",
            ("request_kind",),
        )
        for kind, found in self._inflight.items():
            inflight.labels(kind).set_function(lambda found=found: found.most(monotonic()))  # type: ignore[misc]
        self._sent: dict[tuple[str, str, str], EventSizes] = {}
        self._series: dict[tuple[Any, ...], Series] = {}
        self._custom: set[tuple[str, str, str]] = set()  # custom resources that have answered
        _build_info(registry)

    def begin(self, verb: str, where: ResourcePath) -> Use:
        """`verb`: the API's, or connect."""
        started = self.monotonic()
        if verb == "watch" or where.subresource in CONNECTING:
            lasting = self._lasting.labels(*self._labels(verb, where)) if self._is_served(where) else None
            if lasting is not None:
                lasting.inc()
            return Use(started, None, lasting)
        inflight = self._inflight["readOnly" if verb in ("get", "list") else "mutating"]
        inflight.enter(started)
        return Use(started, inflight, None)

    def end(self, use: Use) -> None:
        """However it ended."""
        if use.inflight is not None:
            use.inflight.now -= 1
        elif use.lasting is not None:
            use.lasting.dec()

    def count(self, use: Use, verb: str, where: ResourcePath, dry_run: str, code: int, size: int) -> None:
        """One that was answered. `verb`: the API's, or connect, or apply. `size`: of the answer, bytes."""
        key = (
            verb,
            where.group,
            where.version,
            where.resource,
            where.subresource,
            not where.name,
            not where.namespace,
            dry_run,
            code,
        )
        series = self._series.get(key)
        if series is None:
            if not self._is_served(where, code):
                return  # or clients could make as many metrics as they have words
            series = self._series[key] = self._new_series(verb, where, dry_run, code)
        series.total.value += 1
        series.seconds.observe(self.monotonic() - use.started)
        if series.sizes is not None:
            series.sizes.observe(size)

    def _is_served(self, where: ResourcePath, code: int = 404) -> bool:
        kind = kind_for(where.group, where.version, where.resource)
        if kind is not None:
            return not where.subresource or any(one.name == where.subresource for one in kind.subresources)
        if "." not in where.group:
            return False
        name = (where.group, where.version, where.resource)
        if code < 300:
            self._custom.add(name)
        return name in self._custom and where.subresource in ("", "status", "scale")

    def _new_series(self, verb: str, where: ResourcePath, dry_run: str, code: int) -> Series:
        shown, *resource = self._labels(verb, where)
        result = (shown, ("All" if dry_run == "All" else "invalid") if dry_run else "", *resource)
        sizes = self._sizes.labels(shown, *resource) if verb in ("get", "list") else None
        return Series(self._total.labels(*result, str(code)), self._seconds.labels(*result), sizes)

    def _labels(self, verb: str, where: ResourcePath) -> tuple[str, ...]:
        scope = "resource" if where.name or verb == "create" else "namespace" if where.namespace else "cluster"
        shown = VERBS.get(verb) or verb.upper()
        return shown, where.group, where.version, where.resource, where.subresource, scope, "apiserver"

    def count_health(self, use_seconds: float, path: str, code: int) -> None:
        """A request of /livez and its like, which are told by their path."""
        result = ("GET", "", "", "", "", path, "", "")
        self._total.labels(*result, str(code)).inc()
        self._seconds.labels(*result).observe(use_seconds)

    def count_check(self, endpoint: str, name: str, ok: bool) -> None:
        """One health check that was made for /livez and its like; /metrics/slis tells of them."""
        self._check.labels(name, endpoint).set(ok)
        self._checks.labels(name, "success" if ok else "error", endpoint).inc()

    def event_sizes(self, group: str, version: str, resource: str) -> EventSizes:
        """Of the events that HTTP watchers of a resource are sent."""
        key = (group, version, resource)
        sizes = self._sent.get(key)
        if sizes is None:
            sizes = self._sent[key] = EventSizes(self._event_sizes.labels(*key))
        return sizes

    def pieces(self) -> Iterator[bytes]:
        """In Prometheus' text format; large ones come alone."""
        for one in self._sent.values():
            one.settle()
        yield from self.registry.pieces()
        events = Registry()
        sent = events.counter(
            "apiserver_watch_events_total", "[ALPHA] Number of events sent in watch clients", _RESOURCE
        )
        for labels, sizes in self._event_sizes:
            sent.labels(*labels).inc(sizes.count)
        yield from events.pieces()


def _build_info(registry: Registry) -> None:
    names = ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler")
    info = registry.gauge(
        "kubernetes_build_info",
        "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, "
        "build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        ("major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler")
        + ("platform",),
    )
    info.labels(*(VERSION_INFO[name] for name in (*names, "platform"))).set(1)


def process_text() -> bytes:
    """What the operating system says of the process, and which Python it is."""
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return generate_latest(registry)
