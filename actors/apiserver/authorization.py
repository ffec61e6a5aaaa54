"""May they? Every authenticated user may do everything until role-based access control is asked (a later decision)."""

from typing import TYPE_CHECKING

from kubeloop.actors.apiserver.messages import Request, UserInfo

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer


def authorize(server: "ApiServer", request: Request, user: UserInfo) -> None:
    """Raises 403 when `user` may not. AlwaysAllow: nobody is refused."""
