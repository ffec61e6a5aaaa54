"""The entry of CertificateSigningRequest (certificates.k8s.io/v1)."""

import base64
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.certificates_v1 import CertificateSigningRequestStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, duplicate, forbidden, invalid, required, unsupported
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_defaults import each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, human_duration, text
from kubeloop.actors.apiserver.registry.strategy import field, keep_status

USAGES = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
]
EXPIRATION_SECONDS_MIN = 600


def prepare_create(obj: Any, context: StrategyContext) -> Any:
    return replace(
        obj,
        spec=replace(obj.spec, username=context.user or None, groups=tuple(context.groups)),
        status=CertificateSigningRequestStatus(),
    )


def prepare_status(new: Any, old: Any, context: StrategyContext) -> Any:
    """Of the status endpoint: the certificate and conditions, but approvals and denials stay what they are."""
    known = {condition.type for condition in old.status.conditions}
    now = context.clock.now_rfc3339()

    def stamped(condition: Any) -> Any:
        times = {"last_update_time": condition.last_update_time or now}
        if condition.type not in known:
            times["last_transition_time"] = condition.last_transition_time or now
        return replace(condition, **times)

    conditions = each(new.status.conditions, stamped)
    return replace(new, spec=old.spec, status=replace(new.status, conditions=conditions))


def validate_request(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if not _is_request(spec.request):
        errors.append(invalid("spec.request", spec.request, "PEM block type must be CERTIFICATE REQUEST"))
    if not spec.usages:
        errors.append(required("spec.usages"))
    seen: set[str] = set()
    for index, usage in enumerate(spec.usages):
        if usage not in USAGES:
            errors.append(unsupported(f"spec.usages[{index}]", usage, USAGES))
        if usage in seen:
            errors.append(duplicate(f"spec.usages[{index}]", usage))
        seen.add(usage)
    signer = spec.signer_name or ""
    if signer == "kubernetes.io/legacy-unknown":
        errors.append(invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version"))
    elif not signer:
        errors.append(required("spec.signerName"))
    else:
        host, slash, path = signer.partition("/")
        if not slash or not path or names.dns_subdomain(host):
            detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
            errors.append(invalid("spec.signerName", signer, detail))
    seconds = spec.expiration_seconds
    if seconds is not None and seconds < EXPIRATION_SECONDS_MIN:
        errors.append(
            invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)")
        )
    return errors


def _is_request(request: str | None) -> bool:
    try:
        return b"-----BEGIN CERTIFICATE REQUEST-----" in base64.b64decode(request or "")
    except ValueError:
        return False


def validate_status_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for condition in old.status.conditions:
        if condition.type in ("Approved", "Denied") and all(
            one.type != condition.type for one in new.status.conditions
        ):
            errors.append(
                forbidden("status.conditions", f'updates may not remove a condition of type "{condition.type}"')
            )
    return errors


def _duration(obj: Any, now: float) -> str:
    seconds = obj.spec.expiration_seconds
    return NONE if seconds is None else human_duration(seconds)


def _condition(obj: Any, now: float) -> str:
    types = [condition.type for condition in obj.status.conditions]
    shown = [type_ for type_ in ("Denied", "Approved") if type_ in types][:1]
    if "Failed" in types:
        shown.append("Failed")
    if obj.status.certificate:
        shown.append("Issued")
    return ",".join(shown) or "Pending"


KINDS = (
    entry(
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        prepare_for_create=prepare_create,
        prepare_for_update=keep_status,
        prepare_for_status_update=prepare_status,
        validate=validate_request,
        validate_status_update=validate_status_update,
        selectable_fields={"spec.signerName": field("spec.signer_name")},
        columns=(
            NAME,
            AGE,
            text("SignerName", lambda obj, now: obj.spec.signer_name or NONE),
            text("Requestor", lambda obj, now: obj.spec.username or ""),
            text("RequestedDuration", _duration),
            text("Condition", _condition),
        ),
    ),
)
