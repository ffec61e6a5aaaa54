"""What the API server is asked, and what it answers: one message a request, whichever way it came in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

NO_OPTIONS: Mapping[str, str] = {}


class UserInfo(msgspec.Struct, frozen=True):
    """Who asks (authentication.k8s.io/v1 UserInfo). In process the caller states it; over HTTPS the gate finds it."""

    name: str
    groups: Sequence[str] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = {}


class Request(msgspec.Struct, frozen=True):
    """One API request.

    `verb` is the API's: get, list, create, update, patch, delete, deletecollection (watch is WatchRequest).
    `options` holds the query parameters by their API names: labelSelector, fieldSelector, limit, continue, dryRun, ...
    `body`: over HTTPS the raw bytes with their `content_type`; in process the object (a Struct of `api`, a dict).
    For a patch in process, `body` is the patch as builtins.
    """

    verb: str
    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Any = None
    content_type: str = "application/json"
    options: Mapping[str, str] = NO_OPTIONS
    user: UserInfo | None = None
    user_agent: str = "kubeloop"


class Access(msgspec.Struct, frozen=True):
    """Of the HTTP layer: may `user`, acting as `act_as` (None: as itself), do what is asked?

    `asked` is `rbac.attributes.Attributes`. Answer: the user to go on as. Raises 403, 400.
    """

    user: UserInfo
    act_as: UserInfo | None
    asked: Any


class StreamOptions(msgspec.Struct, frozen=True):
    """core/v1 PodExecOptions, PodAttachOptions and PodPortForwardOptions: the body of such a request.

    As with a real server stdout and stderr are always there when anything is said at all; with a tty stderr is not.
    """

    container: str = ""
    command: Sequence[str] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False
    ports: Sequence[int] = ()


class Response(msgspec.Struct, frozen=True):
    """The answer: an HTTP status code, and an object (Struct or dict), an ObjectListing, or None."""

    code: int
    body: Any = None
    warnings: Sequence[str] = ()


class ObjectListing(msgspec.Struct, frozen=True):
    """A list answer: the cache's own objects, in key order, and the list's metadata."""

    items: Sequence[Any]
    resource_version: str
    continue_: str = ""
    remaining_item_count: int | None = None


class WatchEvent(msgspec.Struct, frozen=True):
    """ADDED, MODIFIED, DELETED, BOOKMARK with the object; ERROR with a Status dict."""

    type: str
    object: Any


class WatchSink(Protocol):
    """Where a watch delivers, synchronously and in order. Must not block or raise."""

    def on_event(self, event: WatchEvent) -> None: ...

    def on_closed(self, error: Exception | None) -> None: ...


class WatchRequest(msgspec.Struct, frozen=True):
    """Open a watch (`request.verb` is "watch"); answered with a WatchHandle once registered.

    Initial events are delivered to the sink before the answer.
    """

    request: Request
    sink: WatchSink


class WatchHandle(msgspec.Struct, frozen=True):
    """An open watch; `cancel()` is idempotent and ends it without a call to on_closed."""

    cancel: Callable[[], None]
