"""Who asks: client certificates, the table of static tokens, and service account tokens (the "Authenticating" page)."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.messages import UserInfo

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = UserInfo("system:anonymous", (UNAUTHENTICATED,))


class TokenError(ValueError):
    """A token that nobody here knows or signed."""


def with_authenticated(user: UserInfo) -> UserInfo:
    if AUTHENTICATED in user.groups:
        return user
    return UserInfo(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


def user_of_certificate(subject: Sequence[Sequence[tuple[str, str]]]) -> UserInfo | None:
    """From a verified peer certificate's subject, as ssl.getpeercert() gives it: CN is the user, O its groups."""
    name, groups = "", []
    for part in subject:
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return with_authenticated(UserInfo(name, tuple(groups))) if name else None


def user_of_token(token: str, config: ApiServerConfig, now: float) -> UserInfo:
    """Raises TokenError."""
    known = config.tokens.get(token)
    if known is not None:
        return with_authenticated(known)
    if config.signing_key is None or token.count(".") != 2:
        raise TokenError("invalid bearer token")
    return user_of_claims(claims_of(token, config, now))


def claims_of(token: str, config: ApiServerConfig, now: float) -> dict[str, Any]:
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    assert config.signing_key is not None
    key = load_pem_private_key(config.signing_key(), None).public_key()
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,  # type: ignore[arg-type]
            algorithms=["ES256", "RS256"],
            issuer=config.issuer,
            options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as error:  # TypeError: signed with another sort of key
        raise TokenError("invalid bearer token") from error
    if claims.get("exp", 0) < now:
        raise TokenError("service account token has expired")
    if not set(claims.get("aud", ())) & set(config.audiences):
        raise TokenError("invalid bearer token, audiences do not match")
    return claims


def user_of_claims(claims: dict[str, Any]) -> UserInfo:
    own = claims.get("kubernetes.io", {})
    namespace, account = own.get("namespace", ""), own.get("serviceaccount", {})
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
    if "pod" in own:
        extra["authentication.kubernetes.io/pod-name"] = (own["pod"]["name"],)
        extra["authentication.kubernetes.io/pod-uid"] = (own["pod"]["uid"],)
    return UserInfo(str(claims.get("sub", "")), groups, str(account.get("uid", "")), extra)
