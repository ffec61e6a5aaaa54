import pickle
from typing import Any

import pytest

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import FieldError, StatusError


@pytest.mark.parametrize(
    ("error", "code", "reason", "message", "details"),
    [
        (
            errors.not_found("pods", "web"),
            404,
            "NotFound",
            'pods "web" not found',
            {"name": "web", "kind": "pods"},
        ),
        (
            errors.already_exists("deployments", "web", "apps"),
            409,
            "AlreadyExists",
            'deployments.apps "web" already exists',
            {"name": "web", "group": "apps", "kind": "deployments"},
        ),
        (
            errors.conflict("pods", "web", "it changed"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "web": it changed',
            {"name": "web", "kind": "pods"},
        ),
        (
            errors.forbidden("pods", "web", "no"),
            403,
            "Forbidden",
            'pods "web" is forbidden: no',
            {"name": "web", "kind": "pods"},
        ),
        (errors.bad_request("what?"), 400, "BadRequest", "what?", None),
        (errors.unauthorized(), 401, "Unauthorized", "Unauthorized", None),
        (errors.expired("too old"), 410, "Expired", "too old", None),
        (
            errors.too_many_requests("slow down", 3),
            429,
            "TooManyRequests",
            "slow down",
            {"retryAfterSeconds": 3},
        ),
        (
            errors.internal_error("ouch"),
            500,
            "InternalError",
            "Internal error occurred: ouch",
            {"causes": [{"message": "ouch"}]},
        ),
    ],
)
def test_status_shapes(error: StatusError, code: int, reason: str, message: str, details: Any) -> None:
    expected: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    expected |= {"message": message, "reason": reason, "code": code}
    assert error.status == (expected if details is None else expected | {"details": details})
    assert (error.code, error.reason, error.message, str(error)) == (code, reason, message, message)
    assert pickle.loads(pickle.dumps(error)).status == error.status


@pytest.mark.parametrize(
    ("field_error", "message"),
    [
        (FieldError("FieldValueRequired", "a"), "Required value"),
        (FieldError("FieldValueRequired", "a", detail="give it"), "Required value: give it"),
        (FieldError("FieldValueInvalid", "a", "x", "bad"), 'Invalid value: "x": bad'),
        (FieldError("FieldValueInvalid", "a", -1, "negative"), "Invalid value: -1: negative"),
        (FieldError("FieldValueInvalid", "a", True, "no"), "Invalid value: true: no"),
        (FieldError("FieldValueInvalid", "a", None, "no"), "Invalid value: null: no"),
        (FieldError("FieldValueInvalid", "a", {"b": 1}, "no"), 'Invalid value: {"b":1}: no'),
        (FieldError("FieldValueForbidden", "a", detail="no"), "Forbidden: no"),
        (FieldError("FieldValueDuplicate", "a", "x"), 'Duplicate value: "x"'),
        (FieldError("FieldValueNotFound", "a", "x"), 'Not found: "x"'),
        (
            FieldError("FieldValueNotSupported", "a", "x", 'supported values: "y"'),
            'Unsupported value: "x": supported values: "y"',
        ),
        (
            FieldError("FieldValueTooLong", "a", "", "may not be more than 3 bytes"),
            "Too long: may not be more than 3 bytes",
        ),
    ],
)
def test_causes_are_worded_as_apimachinery_words_them(field_error: FieldError, message: str) -> None:
    assert field_error.cause() == {"reason": field_error.type, "message": message, "field": "a"}


def test_an_invalid_status_joins_its_causes() -> None:
    one = FieldError("FieldValueRequired", "spec.a")
    two = FieldError("FieldValueInvalid", "spec.b", 1, "too small")
    single = errors.invalid("apps", "Deployment", "web", [one])
    assert single.message == 'Deployment.apps "web" is invalid: spec.a: Required value'
    both = errors.invalid("", "Pod", "web", [one, two])
    assert both.message == 'Pod "web" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: too small]'
    assert both.status["details"]["causes"] == [one.cause(), two.cause()] and both.code == 422


def test_what_an_error_is_can_be_asked() -> None:
    assert errors.is_not_found(errors.not_found("pods", "a")) and not errors.is_not_found(ValueError())
    assert errors.is_conflict(errors.conflict("pods", "a", "b"))
    assert errors.is_already_exists(errors.already_exists("pods", "a"))
    assert not errors.is_conflict(errors.already_exists("pods", "a"))
    assert errors.is_expired(errors.gone("a")) and errors.is_expired(errors.expired("a"))
