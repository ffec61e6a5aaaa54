"""What is asked of an authorizer, and how a refusal is worded (the "Authorization Overview" page)."""

from typing import NamedTuple

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError, quoted
from kubeloop.actors.apiserver.messages import Request, UserInfo

SELECTING_VERBS = ("list", "watch", "deletecollection")


class Attributes(NamedTuple):
    """A request for a resource, or with `path` for something else (then `verb` is the method in lower case).

    `field_selector` is the parameter as sent; a selection of one name is also in `name`.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""


class Decision(NamedTuple):
    """`reason` says why it is allowed, or what else is known about why it is not."""

    allowed: bool
    reason: str = ""


NO_OPINION = Decision(False)
ALLOWED = Decision(True)


def attributes_of(request: Request) -> Attributes:
    """As a real server reads a path: a namespace's own path is in that namespace; one selected name is a name."""
    verb, namespace, name = request.verb, request.namespace, request.name
    selector = ""
    if request.options and verb in SELECTING_VERBS:
        selector = request.options.get("fieldSelector", "")
        if selector and not name:
            name = selected(selector, "metadata.name")
    if not namespace and request.resource == "namespaces" and not request.group:
        namespace = request.name
    return Attributes(verb, request.group, request.resource, request.subresource, namespace, name, "", selector)


def selected(field_selector: str, field: str) -> str:
    """The value that a field selector demands of a field; "" when it demands none."""
    for requirement in field_selector.split(","):
        key, sign, value = requirement.partition("=")
        if sign and key == field:
            return value.removeprefix("=")
    return ""


def forbidden(user: UserInfo, asked: Attributes, reason: str = "") -> StatusError:
    """403 in kube-apiserver's words."""
    tail = f": {reason}" if reason else ""
    if asked.path:
        text = f"User {quoted(user.name)} cannot {asked.verb} path {quoted(asked.path)}{tail}"
        return errors.forbidden("", "", text)
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f"in the namespace {quoted(asked.namespace)}" if asked.namespace else "at the cluster scope"
    text = (
        f"User {quoted(user.name)} cannot {asked.verb} resource {quoted(resource)} "
        f"in API group {quoted(asked.group)} {where}{tail}"
    )
    return errors.forbidden(asked.resource, asked.name, text, asked.group)
