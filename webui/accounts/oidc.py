"""OpenID Connect: the authorization code flow with PKCE, and the checks of the ID token.

Authlib, joserfc and requests are imported where they are used: most dashboards have no provider,
and no use for their 15 MB.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from db.accounts.secret import hashed
from jobs.errors import ForbiddenError, UnavailableError
from jobs.settings import Settings

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

PROVIDER = "Identity provider"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""Signatures that are accepted: of a key that the provider alone has."""
LEEWAY_SECONDS = 120
"""Tolerated difference between the provider's clock and ours."""
KEPT_SECONDS = 300.0
"""Time for which the provider's description and keys are kept."""
PATIENCE = 10
"""Seconds to wait for an answer of the provider."""
STALE = "This sign-in was started in another browser, or too long ago. Start again."
"""The refusal of an answer to an errand that this browser does not have."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A sign-in that is under way; the browser keeps it in a cookie."""

    state: str
    nonce: str
    verifier: str
    there: str
    """The address to go to afterwards."""
    session: str = ""
    """To link an identity: the proof of the session that asked for it; empty to sign in."""

    def is_of(self, secret: str) -> bool:
        """True if the session of this secret has asked for it.

        Whoever can set cookies here, such as a sibling host name without TLS, knows none.
        """
        return secrets.compare_digest(self.session.encode(), _proof(self.state, secret).encode())


def _proof(state: str, secret: str) -> str:
    return hashed(f"{state} {secret}")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The person whom the provider names."""

    subject: str
    names: tuple[str, ...]
    """Names to call them, the best first."""
    groups: frozenset[str]


def begin(
    settings: Settings, redirect_uri: str, there: str, session: str = ""
) -> tuple[str, Errand]:
    """The address at the provider to lead the browser to, and what to keep until it comes back.

    session: the secret of the session whose account the identity is linked to; empty to sign in
    """
    state = secrets.token_urlsafe(32)
    errand = Errand(
        state=state,
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        there=there,
        session=_proof(state, session) if session else "",
    )
    address, _ = _client(settings, redirect_uri).create_authorization_url(
        _described(settings, "authorization_endpoint"),
        state=errand.state,
        nonce=errand.nonce,
        code_verifier=errand.verifier,
    )
    return cast(str, address), errand


def finish(
    settings: Settings, redirect_uri: str, errand: Errand, answer: Mapping[str, str]
) -> Caller:
    """Exchange the code of the provider's answer for an ID token, and check it.

    Raises ForbiddenError where anything does not fit, UnavailableError if the provider does not
    answer.
    """
    import requests
    from authlib.common.errors import AuthlibBaseError

    if not secrets.compare_digest(answer.get("state", "").encode(), errand.state.encode()):
        raise ForbiddenError(STALE)
    if "error" in answer:
        raise ForbiddenError(f"The identity provider refused: {answer['error'][:200]}.")
    if answer.get("iss", settings.oidc_issuer) != settings.oidc_issuer:
        raise ForbiddenError("The answer is of another identity provider.")
    endpoint = _described(settings, "token_endpoint")
    try:
        with _client(settings, redirect_uri) as client:
            token = client.fetch_token(
                endpoint,
                grant_type="authorization_code",
                code=answer.get("code", ""),
                code_verifier=errand.verifier,
                timeout=PATIENCE,
            )
    except requests.RequestException as error:
        raise _away(error) from error
    except (AuthlibBaseError, ValueError) as error:
        raise ForbiddenError("The identity provider did not accept the code.") from error
    return _caller(settings, checked_claims(settings, token, errand.nonce))


def checked_claims(settings: Settings, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
    """The claims of an ID token, once signature, issuer, audience, times and nonce are checked.

    Raises ForbiddenError.
    """
    from authlib.common.errors import AuthlibBaseError
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    if not isinstance(raw := token.get("id_token"), str):
        raise ForbiddenError("The identity provider sent no ID token.")
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    options = {
        "iss": {"essential": True, "value": settings.oidc_issuer},
        "aud": {"essential": True, "value": settings.oidc_client_id},
        "nonce": {"essential": True},
    }
    params: dict[str, Any] = {"nonce": nonce, "client_id": settings.oidc_client_id}
    params["access_token"] = token.get("access_token")
    try:
        try:
            found = jwt.decode(raw, _keys(settings, _now()), registry=registry)
        except JoseError:  # the keys may be new ones
            _keys.cache_clear()
            found = jwt.decode(raw, _keys(settings, _now()), registry=registry)
        claims = CodeIDToken(found.claims, found.header, options, params)
        claims.validate(leeway=LEEWAY_SECONDS)
    except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
        raise ForbiddenError(f"The ID token is not valid: {error}.") from error
    if not isinstance(found.claims.get("sub"), str) or not found.claims["sub"]:
        raise ForbiddenError("The ID token is not valid: it names no user.")
    return cast(Mapping[str, Any], found.claims)


def _caller(settings: Settings, claims: Mapping[str, Any]) -> Caller:
    wanted = [claims.get("preferred_username"), claims.get("name")]
    if claims.get("email_verified") in (True, "true"):  # some providers write a text
        wanted.insert(1, claims.get("email"))
    names = [name for name in (*wanted, claims["sub"]) if isinstance(name, str) and name.strip()]
    groups = claims.get(settings.oidc_groups_claim, ())
    given = [groups] if isinstance(groups, str) else groups
    listed = given if isinstance(given, list | tuple) else ()
    return Caller(
        subject=claims["sub"],
        names=tuple(names),
        groups=frozenset(one for one in listed if isinstance(one, str)),
    )


def _client(settings: Settings, redirect_uri: str) -> Any:
    from authlib.integrations.requests_client import OAuth2Session

    return OAuth2Session(
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret or None,
        token_endpoint_auth_method="client_secret_basic" if settings.oidc_client_secret else "none",
        scope="openid profile email",
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )


def _described(settings: Settings, name: str) -> str:
    """An address in the provider's description of itself. Raises UnavailableError."""
    found = _description(settings, _now()).get(name)
    if not isinstance(found, str):
        raise UnavailableError(f"The identity provider's description has no {name}.", what=PROVIDER)
    return found


@lru_cache(maxsize=2)
def _description(settings: Settings, _when: int) -> Mapping[str, Any]:
    found = _get(f"{settings.oidc_issuer}/.well-known/openid-configuration")
    if found.get("issuer") != settings.oidc_issuer:
        raise UnavailableError(
            f"The identity provider calls itself {found.get('issuer')!r}, and HEADWISE_OIDC_ISSUER "
            f"is {settings.oidc_issuer!r}: they must be the same.",
            what=PROVIDER,
        )
    return found


@lru_cache(maxsize=2)
def _keys(settings: Settings, _when: int) -> KeySet:
    from joserfc.jwk import KeySet

    return KeySet.import_key_set(_get(_described(settings, "jwks_uri")))  # type: ignore[arg-type]


def _now() -> int:
    """The number of the span of time for which answers of the provider are kept."""
    return int(time.monotonic() / KEPT_SECONDS)


def _get(address: str) -> Mapping[str, Any]:
    import requests

    try:
        answer = requests.get(address, timeout=PATIENCE)
        answer.raise_for_status()
        found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise _away(error) from error
    return found if isinstance(found, dict) else {}


def _away(error: Exception) -> UnavailableError:
    message = f"The identity provider does not answer: {type(error).__name__}."
    return UnavailableError(message, what=PROVIDER)
