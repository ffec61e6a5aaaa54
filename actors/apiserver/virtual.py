"""Resources that are answered and never stored: reviews of who may do what, bindings, component statuses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import bodies
from kubeloop.actors.apiserver.answers import EntryListing
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import binding
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options

AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"
ALLOWED_REASON = "every authenticated user may do everything"


def read_review(call: Call) -> Any:
    options = write_options(call.request.options, "CreateOptions")
    resource = call.route.resource
    expected = Expected(resource.group, resource.version, resource.kind, resource.type)
    return bodies.read(call.request, expected, options.field_validation, call.warnings)


async def access_review(call: Call) -> Response:
    """SelfSubjectAccessReview, SubjectAccessReview, LocalSubjectAccessReview."""
    from kubeloop.actors.api.authorization_v1 import SubjectAccessReviewStatus

    review = read_review(call)
    check_access_review(call, review)
    status = SubjectAccessReviewStatus(allowed=True, reason=ALLOWED_REASON)
    return Response(201, msgspec.structs.replace(review, status=status), call.warnings)


def check_access_review(call: Call, review: Any) -> None:
    """Raises 422 for a review that asks nothing, or two things."""
    kind, spec = call.route.resource.kind, review.spec
    wrong = []
    resource = getattr(spec, "resource_attributes", None)
    other = getattr(spec, "non_resource_attributes", None)
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        wrong.append(errors.FieldError("FieldValueInvalid", "spec.nonResourceAttributes", other, text))
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        wrong.append(errors.FieldError("FieldValueInvalid", "spec.resourceAttributes", None, text))
    if kind != "SelfSubjectAccessReview" and spec is not None and not spec.user and not spec.groups:
        text = "at least one of user or group must be specified"
        wrong.append(errors.FieldError("FieldValueInvalid", "spec.user", spec.user or "", text))
    if wrong:
        raise errors.invalid(AUTHORIZATION, kind, "", wrong)
    if kind == "LocalSubjectAccessReview" and resource is not None and resource.namespace != call.namespace:
        text = f"namespace on request does not match namespace in spec.resourceAttributes: {resource.namespace}"
        raise errors.bad_request(text)


async def rules_review(call: Call) -> Response:
    from kubeloop.actors.api.authorization_v1 import NonResourceRule, ResourceRule, SubjectRulesReviewStatus

    review = read_review(call)
    if review.spec is None or not review.spec.namespace:
        raise errors.bad_request("no namespace on request")
    everything = ("*",)
    status = SubjectRulesReviewStatus(
        incomplete=False,
        resource_rules=(ResourceRule(verbs=everything, api_groups=everything, resources=everything),),
        non_resource_rules=(NonResourceRule(verbs=everything, non_resource_urls=everything),),
    )
    return Response(201, msgspec.structs.replace(review, status=status), call.warnings)


async def self_subject_review(call: Call) -> Response:
    from kubeloop.actors.api.authentication_v1 import SelfSubjectReviewStatus, UserInfo

    review = read_review(call)
    user = call.user
    info = UserInfo(username=user.name, uid=user.uid or None, groups=tuple(user.groups), extra=dict(user.extra))
    return Response(201, msgspec.structs.replace(review, status=SelfSubjectReviewStatus(user_info=info)), call.warnings)


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
        status = TokenReviewStatus(authenticated=False, error=str(error))
    else:
        info = UserInfo(username=user.name, uid=user.uid or None, groups=tuple(user.groups), extra=dict(user.extra))
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
