"""May they? The modes of --authorization-mode, asked in order: the first that allows decides."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeloop.actors.apiserver.call import NeedsCache
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.apiserver.rbac import node
from kubeloop.actors.apiserver.rbac.attributes import (
    ALLOWED,
    NO_OPINION,
    Attributes,
    Decision,
    attributes_of,
    forbidden,
)
from kubeloop.actors.apiserver.rbac.authorizer import GROUP, MASTERS, RESOURCES, RbacAuthorizer

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

ALWAYS_ALLOW, NODE, RBAC = "AlwaysAllow", "Node", "RBAC"
MODES = (ALWAYS_ALLOW, NODE, RBAC)


def checked_modes(text: str) -> tuple[str, ...]:
    """The modes of "Node,RBAC". Raises ValueError for one that there is not, and for a list of none."""
    modes = tuple(mode.strip() for mode in text.split(",") if mode.strip())
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"authorization mode {mode!r}: kubeloop has {', '.join(MODES)}")
    if not modes or len(set(modes)) != len(modes):
        raise ValueError(f"authorization {text!r}: one or more of {', '.join(MODES)}, each once, as in Node,RBAC")
    return modes


class Authorizer:
    """Decides by the server's modes. `rbac` is None where RBAC is not one of them."""

    def __init__(self, server: "ApiServer", modes: Sequence[str]) -> None:
        self._server = server
        self.modes = tuple(modes)
        self.always = modes[0] == ALWAYS_ALLOW
        self.rbac: RbacAuthorizer | None = None
        if RBAC in modes:
            stores = []
            for plural in RESOURCES:
                route = server.resources.find(GROUP, "v1", plural)
                assert route is not None and route.store is not None
                stores.append(route.store)
            self.rbac = RbacAuthorizer(stores)

    def decide(self, user: UserInfo, asked: Attributes) -> Decision:
        """Raises NeedsCache where something that decides is not in memory yet."""
        if self.always or MASTERS in user.groups:
            return ALLOWED
        reasons = []
        for mode in self.modes:
            decision = self._ask(mode, user, asked)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons)) if reasons else NO_OPINION

    def _ask(self, mode: str, user: UserInfo, asked: Attributes) -> Decision:
        if mode == NODE:
            return node.authorize(self._server, user, asked)
        if mode == RBAC:
            assert self.rbac is not None
            return self.rbac.authorize(user, asked)
        return ALLOWED

    async def decision(self, user: UserInfo, asked: Attributes) -> Decision:
        """As `decide`, after loading what it takes."""
        while True:
            try:
                return self.decide(user, asked)
            except NeedsCache as need:
                await need.store.load()

    async def check(self, user: UserInfo, asked: Attributes) -> None:
        """Raises 403 when `user` may not."""
        decision = await self.decision(user, asked)
        if not decision.allowed:
            raise forbidden(user, asked, decision.reason)


async def authorize(server: "ApiServer", request: Request, user: UserInfo) -> None:
    """Raises 403 when `user` may not."""
    asked = attributes_of(request)
    try:
        decision = server.authorizer.decide(user, asked)
    except NeedsCache:
        decision = await server.authorizer.decision(user, asked)
    if not decision.allowed:
        raise forbidden(user, asked, decision.reason)
