"""Who may act as whom (the "User impersonation" page): by `impersonate` on the user, groups, uid and extras.

Since 1.36 also constrained: `impersonate:user-info` (or serviceaccount, arbitrary-node) on the user, together with
`impersonate-on:user-info:VERB` on what is asked. What a requester came through with last is tried first, as a real
server does; a refusal words the first try.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError, quoted
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.authentication import AUTHENTICATED, UNAUTHENTICATED
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.apiserver.rbac.attributes import Attributes
from kubeloop.actors.apiserver.rbac.authorizer import MASTERS

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.authorization import Authorizer

GROUP = "authentication.k8s.io"
ACCOUNT_PREFIX, NODE_PREFIX = "system:serviceaccount:", "system:node:"
LEGACY = "impersonate"


class Impersonation:
    """Checks requests to act as another user."""

    def __init__(self, authorizer: "Authorizer") -> None:
        self._authorizer = authorizer
        self._last: dict[str, str] = {}  # requester -> the mode that allowed it last

    async def act_as(self, user: UserInfo, wanted: UserInfo, asked: Attributes) -> UserInfo:
        """The user whom `user` plays. Raises 403, and 400 for groups or extras without a user."""
        if not wanted.name:
            raise errors.bad_request(
                f'requested &user.DefaultInfo{{Name:"", UID:"{wanted.uid}", '
                f"Groups:{_go_strings(wanted.groups)}, Extra:map[string][]string(nil)}} "
                "without impersonating a user name"
            )
        if not self._authorizer.always and MASTERS not in user.groups:
            await self._check(user, wanted, asked)
        return completed(wanted)

    async def _check(self, user: UserInfo, wanted: UserInfo, asked: Attributes) -> None:
        modes = [constrained_mode(wanted.name), LEGACY]
        if self._last.get(user.name) == LEGACY:
            modes.reverse()
        first: StatusError | None = None
        for mode in modes:
            try:
                for needed in needs(mode, wanted, asked):
                    await self._authorizer.check(user, needed)
            except StatusError as error:
                first = first or error
            else:
                if len(self._last) >= limits.impersonators_max:
                    self._last.clear()
                self._last[user.name] = mode
                return
        assert first is not None
        raise first


def constrained_mode(name: str) -> str:
    if is_account(name):
        return "serviceaccount"
    return "arbitrary-node" if name.startswith(NODE_PREFIX) else "user-info"


def is_account(name: str) -> bool:
    return name.startswith(ACCOUNT_PREFIX) and name.count(":") == 3


def needs(mode: str, wanted: UserInfo, asked: Attributes) -> Iterator[Attributes]:
    """What the requester must be allowed, in the order in which a real server asks."""
    verb = LEGACY
    if mode != LEGACY:
        yield asked._replace(verb=f"impersonate-on:{mode}:{asked.verb}")
        verb = f"impersonate:{mode}"
    core = "" if mode == LEGACY else GROUP
    if is_account(wanted.name):
        _, _, namespace, name = wanted.name.split(":")
        yield Attributes(verb, core, "serviceaccounts", "", namespace, name)
    elif mode == "arbitrary-node":
        yield Attributes(verb, core, "nodes", "", "", wanted.name.removeprefix(NODE_PREFIX))
    else:
        yield Attributes(verb, core, "users", "", "", wanted.name)
    for group in wanted.groups:
        yield Attributes(verb, core, "groups", "", "", group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes(verb, GROUP, "userextras", key, "", value)
    if wanted.uid:
        yield Attributes(verb, GROUP, "uids", "", "", wanted.uid)


def completed(wanted: UserInfo) -> UserInfo:
    """With the groups that every account and every authenticated user has."""
    groups = tuple(wanted.groups)
    if is_account(wanted.name) and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{wanted.name.split(':')[2]}")
    if wanted.name == "system:anonymous":
        groups = groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    elif AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return UserInfo(wanted.name, groups, wanted.uid, wanted.extra)


def _go_strings(values: Sequence[str]) -> str:
    """As Go's %#v writes a list of texts."""
    return f"[]string{{{', '.join(quoted(value) for value in values)}}}" if values else "[]string(nil)"
