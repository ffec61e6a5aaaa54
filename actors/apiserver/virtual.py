"""Resources that are answered and never stored: reviews of who may do what, bindings, component statuses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.answers import EntryListing
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import binding
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.reviews import access_review, read_review, rules_review

AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"


async def self_subject_review(call: Call) -> Response:
    from kubeloop.actors.api.authentication_v1 import SelfSubjectReviewStatus, UserInfo

    review = read_review(call)
    user = call.user
    info = UserInfo(username=user.name, uid=user.uid or None, groups=tuple(user.groups), extra=extra_of(user))
    created = msgspec.structs.replace(review.metadata, creation_timestamp=call.server.context.clock.now_rfc3339())
    status = SelfSubjectReviewStatus(user_info=info)
    return Response(201, msgspec.structs.replace(review, metadata=created, status=status), call.warnings)


def extra_of(user: Any) -> Mapping[str, Any]:
    from kubeloop.actors.api.empty import EMPTY

    return dict(user.extra) if user.extra else EMPTY


async def token_review(call: Call) -> Response:
    from kubeloop.actors.api.authentication_v1 import TokenReviewStatus, UserInfo
    from kubeloop.actors.apiserver.authentication import TokenError, user_of_token

    review = read_review(call)
    token = review.spec.token if review.spec is not None else None
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    server = call.server
    try:
        user = user_of_token(token, server.config, server.context.clock.now())
    except TokenError as error:
        status = TokenReviewStatus(user=UserInfo(), error=str(error))
    else:
        info = UserInfo(username=user.name, uid=user.uid or None, groups=tuple(user.groups), extra=extra_of(user))
        audiences = tuple(review.spec.audiences) or server.config.audiences
        status = TokenReviewStatus(authenticated=True, user=info, audiences=audiences)
    return Response(201, msgspec.structs.replace(review, status=status), call.warnings)


COMPONENTS = {"controller-manager": "ok", "scheduler": "ok", "etcd-0": "ok"}


async def component_status(call: Call) -> Response:
    if call.name not in COMPONENTS:
        raise errors.not_found("componentstatuses", call.name)
    return Response(200, component(call.name), call.warnings)


async def component_statuses(call: Call) -> Response:
    items = [component(name) for name in sorted(COMPONENTS)]
    return Response(200, EntryListing(items, "", "", None, (), "ComponentStatus", "v1"), call.warnings)


def component(name: str) -> Any:
    from kubeloop.actors.api.core_v1 import ComponentCondition, ComponentStatus
    from kubeloop.actors.api.meta_v1 import ObjectMeta

    condition = ComponentCondition(type="Healthy", status="True", message=COMPONENTS[name])
    return ComponentStatus(metadata=ObjectMeta(name=name), conditions=(condition,))


HANDLERS: Mapping[tuple[str, str, str], Callable[[Call], Awaitable[Response]]] = {
    ("create", AUTHORIZATION, "selfsubjectaccessreviews"): access_review,
    ("create", AUTHORIZATION, "subjectaccessreviews"): access_review,
    ("create", AUTHORIZATION, "localsubjectaccessreviews"): access_review,
    ("create", AUTHORIZATION, "selfsubjectrulesreviews"): rules_review,
    ("create", AUTHENTICATION, "selfsubjectreviews"): self_subject_review,
    ("create", AUTHENTICATION, "tokenreviews"): token_review,
    ("create", "", "bindings"): binding.create_from_body,
    ("get", "", "componentstatuses"): component_status,
    ("list", "", "componentstatuses"): component_statuses,
}
