"""The entries of what is asked and never stored: authentication and authorization reviews."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, invalid, required
from kubeloop.actors.apiserver.registry.printing import AGE, NAME

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
_ONE = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def _check_attributes(errors: Errors, spec: Any) -> None:
    if spec.resource_attributes is not None and spec.non_resource_attributes is not None:
        errors.append(
            invalid("spec.nonResourceAttributes", "", "cannot be specified in combination with resourceAttributes")
        )
    if spec.resource_attributes is None and spec.non_resource_attributes is None:
        errors.append(invalid("spec.resourceAttributes", None, _ONE))


def validate_self_access_review(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_attributes(errors, obj.spec)
    return errors


def validate_access_review(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_attributes(errors, obj.spec)
    if not obj.spec.user and not obj.spec.groups:
        errors.append(invalid("spec.user", "", "at least one of user or group must be specified"))
    return errors


def validate_rules_review(obj: Any) -> Sequence[FieldError]:
    return () if obj.spec.namespace else (required("spec.namespace"),)


KINDS = (
    entry(AUTHENTICATION, "v1", "selfsubjectreviews", columns=(NAME, AGE)),
    entry(AUTHENTICATION, "v1", "tokenreviews", columns=(NAME, AGE)),
    entry(AUTHORIZATION, "v1", "localsubjectaccessreviews", validate=validate_access_review),
    entry(AUTHORIZATION, "v1", "selfsubjectaccessreviews", validate=validate_self_access_review),
    entry(AUTHORIZATION, "v1", "selfsubjectrulesreviews", validate=validate_rules_review),
    entry(AUTHORIZATION, "v1", "subjectaccessreviews", validate=validate_access_review),
)
