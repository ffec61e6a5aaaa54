"""What the fuzzers share: the server that is asked, the rules that each answer keeps, and values of the model's types.

The rules: no 500, no hang, no line in the log, an error is a Status that says the code of its answer. What was written
reads back as an object that the server takes again, and changes nothing by it.
"""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from kubeloop.actors.api import schema
from kubeloop.actors.api.schema import Node
from tests.etcd.soak import SOAK

ANSWER_SECONDS_MAX = 20.0
READ_BYTES_MAX = 1 << 20
ROOT_NAMES = ("apiVersion", "kind", "metadata")
IDENTITY = ("name", "uid", "namespace", "creationTimestamp")

Answer = tuple[int, Any]


class Target:
    """A served API server, called from the thread that hypothesis runs in."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.loop = asyncio.get_running_loop()
        self.log = io.StringIO()

    def take_log(self) -> str:
        """What was logged since it was last taken."""
        found = self.log.getvalue()
        self.log.seek(0)
        self.log.truncate()
        return found

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **query: str
    ) -> Answer:
        """Code and body (decoded if it is JSON), when the answer keeps the rules."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        called = self.call(method, path, data, given, query)
        shown = f"{method} {path} {query} {headers} {data!r}"
        try:
            code, content_type, raw = asyncio.run_coroutine_threadsafe(called, self.loop).result(ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise AssertionError(f"no answer in {ANSWER_SECONDS_MAX} s: {shown}") from None
        log = self.take_log()
        assert not log, f"{shown} logged:\n{log}"
        found = raw if method == "HEAD" or (code < 400 and watches(path, query)) else decoded(content_type, raw)
        assert code < 500 or (code == 504 and b"Too large resource version" in raw), f"{shown}: {code} {found!r}"
        if code >= 400 and raw != b"404 page not found\n" and method != "HEAD":
            assert isinstance(found, dict), f"{shown}: {code} {content_type} {raw!r}"
            assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", code), f"{shown}: {found}"
        return code, found

    async def call(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        text = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items())
        target = f"{path}?{text}" if text else path
        async with self.session.request(method, target, data=data, headers=dict(headers)) as answer:
            raw = await self.first_lines(answer) if watches(path, query) else await answer.content.read()
            return answer.status, answer.content_type, raw

    async def first_lines(self, answer: aiohttp.ClientResponse) -> bytes:
        """What a watch tells soon; then the client goes away."""
        found = b""
        try:
            async with asyncio.timeout(0.01):
                while len(found) < READ_BYTES_MAX and (chunk := await answer.content.readany()):
                    found += chunk
        except TimeoutError:
            pass
        return found

    def reads_back(self, path: str, subresource: str = "") -> dict[str, Any]:
        """The object at the path; it is the same in YAML, and an update with it is taken and writes nothing.

        `subresource`: what is updated; a status may be such that the object itself cannot be updated any more.
        """
        code, found = self.ask("GET", path)
        assert code == 200, found
        _, in_yaml = self.ask("GET", path, headers={"Accept": "application/yaml"})
        if (
            in_yaml != found and self.ask("GET", path)[1] != found
        ):  # the server itself has written a definition's status
            return self.reads_back(path, subresource)
        assert in_yaml == found, f"{path} in YAML is another: {differences(found, in_yaml)}"
        code, same = self.ask("PUT", path + subresource, found)
        if code == 409 and self.ask("GET", path)[1] != found:
            return self.reads_back(path, subresource)
        assert code == 200, f"{path}: what was read is refused: {same}\n{json.dumps(found)}"
        assert same == found, f"{path}: an update with what was read changed {differences(found, same)}"
        code, table = self.ask("GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert code == 200, f"{path} as a table: {table}"
        return dict(found)


def watches(path: str, query: Mapping[str, str]) -> bool:
    return "watch" in query or "/watch/" in path


def decoded(content_type: str, raw: bytes) -> Any:
    if content_type == "application/json":
        return json.loads(raw)
    return yaml.load(raw, yaml.CSafeLoader) if content_type == "application/yaml" else raw


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two documents differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = dict.fromkeys((*one, *other))
        return [text for name in names for text in differences(one.get(name), other.get(name), f"{path}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for index, (a, b) in pairs for text in differences(a, b, f"{path}[{index}]")]
    return [] if one == other else [f"{path}: {one!r} -> {other!r}"]


async def fuzz(target: Target, check: Callable[[st.DataObject], None], *, examples: int) -> None:
    """Runs `check` on so many examples, SOAK times as many when asked for: the same ones unless it is a soak."""
    run = settings(
        max_examples=examples * SOAK,
        derandomize=SOAK == 1,
        database=None,
        deadline=None,
        phases=(Phase.generate,) if SOAK == 1 else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    with logging_to(target.log):
        await asyncio.to_thread(run(given(st.data())(check)))


@contextmanager
def logging_to(text: io.StringIO) -> Iterator[None]:
    """What kubeloop and asyncio log goes there: kubeloop's lines go to whatever sys.stderr is."""
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    try:
        with redirect_stderr(text):
            yield
    finally:
        logging.getLogger().removeHandler(handler)


# values

WORDS = (
    *("", "a", "b", "web", "data", "default", "TCP", "UDP", "Always", "Never", "Recreate", "RollingUpdate", "Delete"),
    *("kubernetes.io/x", "example.com/a", "a/b/c", "10.0.0.1", "fd00::1", "10.0.0.0/8", "0.0.0.0/33", "300.1.1.1"),
    *("Pod", "v1", "apps/v1", "/", "../x", "/a/../b", "*", "=", "-", "_", ".", "A.B", "a=b", "!a", "a in (b"),
    *("0 * * * *", "@daily", "* * * *", "TZ=UTC 0 * * * *", "2026-01-01T00:00:00Z", "100m", "25%", "-5%", "100"),
    *("{}", "[]", "null", "true", "1", "é", "\u2028", "\x00", "\ufffd", "\U0001f600", "$(X)", "%s", "~1", "~0~"),
    *("self.x > 0", "self == oldSelf", "1 +", "[0-9]+", "(", "(a+)+$", "integer", "string", "object", "array"),
    *("In", "Exists", "Equal", "NoSchedule", "ClusterIP", "ExternalName", "None", "Local", "ReadWriteOnce", "DELETE"),
    *("x" * 64, "x" * 254, "y" * 1025, "a." * 130, "https://example.com/x?y", "://", "2001:db8::/129", "-1", "1e9"),
)
NUMBERS = (0, 1, -1, 2, 3, 80, 443, 1000, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63))
QUANTITIES = (
    "0",
    "1",
    "100m",
    "1Gi",
    "-1",
    "1e3",
    "1E",
    "1e400",
    "0.5",
    "8Ei",
    "99999999999999999999",
    "1n",
    "",
    "x",
    5,
)
TIMES = (
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00+02:00", "0001-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z", "", "now"),
)
DATA = ("", "aGk=", "aGk", "!!", "====", "YQ==\n")
words = st.sampled_from(WORDS)
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.floats(allow_nan=False), words, st.text())
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
OF_FORM: Mapping[str, SearchStrategy[Any]] = {
    schema.TEXT: words,
    schema.INTEGER: st.sampled_from(NUMBERS),
    schema.FLOAT: st.sampled_from((0, 1.5, -1, 1e300, 1e-300)),
    schema.BOOLEAN: st.booleans(),
    schema.QUANTITY: st.sampled_from(QUANTITIES),
    schema.INT_OR_STRING: st.one_of(st.sampled_from(NUMBERS), words),
    schema.TIME: st.sampled_from(TIMES),
    schema.MICRO_TIME: st.sampled_from(TIMES),
    schema.BASE64: st.sampled_from(DATA),
    schema.RAW: st.dictionaries(words, junk, max_size=3),
    schema.ANY: junk,
}


def rarely(draw: DrawFn, one_in: int) -> bool:
    return draw(st.integers(0, one_in - 1)) == one_in - 1


@st.composite
def typed(draw: DrawFn, node: Node, depth: int = 0) -> Any:
    """A value of the type, most of the time."""
    if rarely(draw, 24):
        return draw(junk)
    if node.form == schema.STRUCT:
        fields = schema.fields_of(node.cls)
        most = min(3 if depth < 4 else 0, len(fields))
        names = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=most)) if most else []
        required = [name for name in sorted(node.cls.__required__) if name in fields and not rarely(draw, 12)]
        return {name: draw(typed(fields[name].node, depth + 1)) for name in dict.fromkeys((*required, *names))}
    if node.form == schema.LIST:
        found = [draw(typed(node.item, depth + 1)) for _ in range(draw(st.integers(0, 2)))]
        return found + found[:1] if rarely(draw, 6) else found
    if node.form == schema.MAP:
        keys = draw(st.lists(words, max_size=2, unique=True))
        return {key: draw(typed(node.item, depth + 1)) for key in keys}
    return draw(OF_FORM[node.form])


@st.composite
def places(draw: DrawFn, cls: type, document: Any) -> tuple[list[str | int], Node]:
    """A path into objects of the class, by preference to what is in the document; and the type there."""
    node, here, path = schema.node_of(cls), document, list[str | int]()
    while True:
        ends = node.form not in (schema.STRUCT, schema.LIST, schema.MAP)
        ends = ends or (node.form == schema.STRUCT and not schema.fields_of(node.cls))
        if path and (ends or rarely(draw, 6)):
            return path, node
        if node.form == schema.STRUCT:
            fields = schema.fields_of(node.cls)
            there = [name for name in fields if isinstance(here, dict) and name in here]
            names = there if there and not rarely(draw, 3) else sorted(fields)
            if not path and not rarely(draw, 12):  # not what it is, and seldom its metadata
                names = [name for name in names if name not in ROOT_NAMES] or ["metadata"]
            name = draw(st.sampled_from(names))
            path.append(name)
            node, here = fields[name].node, here.get(name) if isinstance(here, dict) else None
        elif node.form == schema.LIST:
            index = draw(st.integers(0, len(here) if isinstance(here, list) else 0))
            path.append(index)
            node, here = node.item, here[index] if isinstance(here, list) and index < len(here) else None
        else:
            key = draw(
                st.sampled_from(sorted(here)) if isinstance(here, dict) and here and draw(st.booleans()) else words
            )
            path.append(key)
            node, here = node.item, here.get(key) if isinstance(here, dict) else None


def put_at(document: Any, path: list[str | int], value: Any) -> None:
    """Sets what lies at the path, making what is missing on the way."""
    for step, following in zip(path, path[1:], strict=False):
        if isinstance(step, int):
            while len(document) <= step:
                document.append({} if isinstance(following, str) else [])
            inner = document[step]
        else:
            inner = document.get(step)
        if not isinstance(inner, dict if isinstance(following, str) else list):
            inner = document[step] = {} if isinstance(following, str) else []
        document = inner
    if isinstance(path[-1], int) and path[-1] >= len(document):
        document.append(value)
    else:
        document[path[-1]] = value
