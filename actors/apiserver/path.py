"""A URL path and method -> what is asked, by the rules of the API concepts page ("Resource URIs").

Pure; the HTTP layer calls it, tests hand it strings. Discovery and health paths are not resources: `parse` gives None.
"""

from functools import lru_cache

import msgspec

METHOD_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMESPACE_SUBRESOURCES = ("status", "finalize")


class ResourcePath(msgspec.Struct, frozen=True):
    """`subpath` is what follows a proxying subresource (pods/NAME/proxy/a/b -> "a/b")."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    subpath: str = ""
    watch: bool = False  # the deprecated /watch/ prefix


@lru_cache(512)
def parse(path: str) -> ResourcePath | None:
    """The resource that a decoded path names; None when it names none (/healthz, /apis, /apis/apps/v1)."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > 2 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) > 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        if len(rest) > 2 and not (rest[2] in NAMESPACE_SUBRESOURCES and len(rest) == 3 and group == ""):
            namespace, rest = rest[1], rest[2:]
        elif group != "":
            return None
    return ResourcePath(
        group=group,
        version=version,
        resource=rest[0],
        namespace=namespace,
        name=rest[1] if len(rest) > 1 else "",
        subresource=rest[2] if len(rest) > 2 else "",
        subpath="/".join(rest[3:]),
        watch=watch,
    )


def verb_of(method: str, path: ResourcePath, options_watch: bool) -> str | None:
    """The API verb, or None for a method that no resource answers (OPTIONS, TRACE ...)."""
    verb = METHOD_VERBS.get(method)
    if verb == "get" and (path.watch or (options_watch and not path.name)):
        return "watch"
    if path.name:
        return verb
    return {"get": "list", "delete": "deletecollection"}.get(verb or "", verb)
