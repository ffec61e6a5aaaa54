"""SubjectAccessReview and its kin: what the authorizer answers, as an object (the "Checking API access" section)."""

from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import bodies, ownership
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.messages import Response, UserInfo
from kubeloop.actors.apiserver.options import write_options
from kubeloop.actors.apiserver.rbac import node
from kubeloop.actors.apiserver.rbac.attributes import Attributes

GROUP = "authorization.k8s.io"


def read_review(call: Call) -> Any:
    options = write_options(call.request.options, "CreateOptions")
    resource = call.route.resource
    expected = Expected(resource.group, resource.version, resource.kind, resource.type)
    review = bodies.read(call.request, expected, options.field_validation, call.warnings)
    return ownership.tracked(call, review, None, options)


async def access_review(call: Call) -> Response:
    """SelfSubjectAccessReview, SubjectAccessReview, LocalSubjectAccessReview."""
    from kubeloop.actors.api.authorization_v1 import SubjectAccessReviewStatus

    review = read_review(call)
    check_access_review(call, review)
    decision = await call.server.authorizer.decision(user_of(call, review.spec), attributes_of(review.spec))
    if call.namespace and not review.metadata.namespace:
        metadata = msgspec.structs.replace(review.metadata, namespace=call.namespace)
        review = msgspec.structs.replace(review, metadata=metadata)
    status = SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason or None)
    return Response(201, msgspec.structs.replace(review, status=status), call.warnings)


def user_of(call: Call, spec: Any) -> UserInfo:
    if call.route.resource.kind == "SelfSubjectAccessReview":
        return call.user
    return UserInfo(spec.user or "", tuple(spec.groups), spec.uid or "", spec.extra)


def attributes_of(spec: Any) -> Attributes:
    other = spec.non_resource_attributes
    if other is not None:
        return Attributes(other.verb or "", path=other.path or "")
    asked = spec.resource_attributes
    selector = asked.field_selector.raw_selector or "" if asked.field_selector is not None else ""
    return Attributes(
        asked.verb or "",
        asked.group or "",
        asked.resource or "",
        asked.subresource or "",
        asked.namespace or "",
        asked.name or "",
        "",
        selector,
    )


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
        raise errors.invalid(GROUP, kind, "", wrong)
    if kind == "LocalSubjectAccessReview" and resource is not None and resource.namespace != call.namespace:
        text = f"namespace on request does not match namespace in spec.resourceAttributes: {resource.namespace}"
        raise errors.bad_request(text)


async def rules_review(call: Call) -> Response:
    """SelfSubjectRulesReview: the rules of the caller's roles in a namespace. A kubelet's are not all roles' rules."""
    from kubeloop.actors.api.authorization_v1 import NonResourceRule, ResourceRule, SubjectRulesReviewStatus

    review = read_review(call)
    if review.spec is None or not review.spec.namespace:
        raise errors.bad_request("no namespace on request")
    rbac = call.server.authorizer.rbac
    resource_rules: list[Any] = []
    other_rules: list[Any] = []
    wrong: list[str] = []
    if rbac is None or call.server.authorizer.always:
        everything = ("*",)
        resource_rules.append(ResourceRule(verbs=everything, api_groups=everything, resources=everything))
        other_rules.append(NonResourceRule(verbs=everything, non_resource_urls=everything))
    else:
        for rule in rbac.rules_of_user(call.user, review.spec.namespace, wrong):
            if rule.non_resource_urls:
                other_rules.append(NonResourceRule(verbs=rule.verbs, non_resource_urls=rule.non_resource_urls))
            if rule.resources:
                resource_rules.append(
                    ResourceRule(
                        verbs=rule.verbs,
                        api_groups=rule.api_groups,
                        resources=rule.resources,
                        resource_names=rule.resource_names,
                    )
                )
        if node.node_of(call.user):
            wrong.append("node authorizer does not support user rule resolution")
    status = SubjectRulesReviewStatus(
        incomplete=bool(wrong),
        evaluation_error=", ".join(wrong) or None,
        resource_rules=tuple(resource_rules),
        non_resource_rules=tuple(other_rules),
    )
    return Response(201, msgspec.structs.replace(review, status=status), call.warnings)
