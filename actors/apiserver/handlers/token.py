"""serviceaccounts/token: a signed, short-lived token for an account (the "TokenRequest API" section)."""

from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import bodies
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options
from kubeloop.runtime.clock import format_rfc3339

SECONDS_MIN = 600
SECONDS_DEFAULT = 3600


async def create(call: Call) -> Response:
    from kubeloop.actors.api.authentication_v1 import TokenRequest, TokenRequestSpec, TokenRequestStatus

    options = write_options(call.request.options, "CreateOptions")
    expected = Expected("authentication.k8s.io", "v1", "TokenRequest", TokenRequest)
    request = bodies.read(call.request, expected, options.field_validation, call.warnings)
    account = read.find(call).object
    config = call.server.config
    if config.signing_key is None:
        raise errors.method_not_supported()
    spec = request.spec if request.spec is not None else TokenRequestSpec(audiences=())
    seconds = spec.expiration_seconds if spec.expiration_seconds is not None else SECONDS_DEFAULT
    wrong = []
    if seconds < SECONDS_MIN:
        detail = "may not specify a duration less than 10 minutes"
        wrong.append(errors.FieldError("FieldValueInvalid", "spec.expirationSeconds", seconds, detail))
    if wrong:
        raise errors.invalid("authentication.k8s.io", "TokenRequest", "", wrong)
    audiences = tuple(spec.audiences) or config.audiences
    now = call.server.context.clock.now()
    claims = {
        "aud": list(audiences),
        "exp": int(now) + seconds,
        "iat": int(now),
        "nbf": int(now),
        "iss": config.issuer,
        "jti": call.server.context.clock.uuid4(),
        "sub": f"system:serviceaccount:{call.namespace}:{call.name}",
        "kubernetes.io": {
            "namespace": call.namespace,
            "serviceaccount": {"name": call.name, "uid": account.metadata.uid},
            **bound_object(call, spec.bound_object_ref),
        },
    }
    status = TokenRequestStatus(
        token=signed(config.signing_key(), claims), expiration_timestamp=format_rfc3339(now + seconds)
    )
    shown = msgspec.structs.replace(spec, audiences=audiences, expiration_seconds=seconds)
    answer = msgspec.structs.replace(request, spec=shown, status=status)
    return Response(201, answer, call.warnings)


def bound_object(call: Call, reference: Any) -> dict[str, Any]:
    """The claim that ties a token to a pod or secret. Raises 404 and 409 when that is not there, or another."""
    if reference is None:
        return {}
    plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(reference.kind or "")
    if plural is None:
        raise errors.bad_request(f"cannot bind token to object of type {reference.kind}")
    found = call.server.lookup(plural, call.namespace if plural != "nodes" else "", reference.name or "")
    if found is None:
        raise errors.not_found(plural, reference.name or "")
    if reference.uid and reference.uid != found.metadata.uid:
        text = f"the UID in the bound object reference ({reference.uid}) does not match the UID in record"
        raise errors.conflict(plural, reference.name or "", text)
    return {plural.removesuffix("s"): {"name": reference.name, "uid": found.metadata.uid}}


def signed(key_pem: bytes, claims: dict[str, Any]) -> str:
    import jwt

    return jwt.encode(claims, key_pem, algorithm="ES256")
