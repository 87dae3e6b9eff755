"""An OpenID Connect provider in a process of its own: oidc-provider-mock, with faults for some.

    python -m tests.helpers.identity_provider PORT

The library makes, signs and serves everything; a fault changes a claim or the key of the ID tokens
of the person whose subject is its name.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

CLIENT, SECRET = "headwise", "the dashboard's secret, of many characters"
PEOPLE: dict[str, dict[str, object]] = {
    "1001": {"preferred_username": "Ada", "groups": ["lab", "chess"]},
    "1002": {"preferred_username": "Grace", "groups": ["headwise-admins"]},
    "1003": {"preferred_username": "Mallory", "groups": ["visitors"]},
    "1004": {"preferred_username": "ADA", "groups": ["lab"]},
    "1005": {"preferred_username": "Kay", "groups": ["lab"]},
    "2001": {"preferred_username": "Zoe", "groups": ["lab"]},
    "2002": {"email": "ivy@example.org", "email_verified": True, "groups": ["lab"]},
    "2003": {"preferred_username": "Nobody", "groups": ["lab"]},
    "2004": {"preferred_username": "Mallet", "groups": ["lab"]},
}
"""The people that it knows, by subject."""
FAULTS = (
    *("issuer", "audience", "party", "nonce", "no-nonce", "expired", "early", "no-subject"),
    *("algorithm", "unsigned", "key"),
)
SKEWS = ("behind", "ahead")
"""Clocks that differ by less than is tolerated."""
PEOPLE |= {one: {"preferred_username": f"of {one}", "groups": ["lab"]} for one in FAULTS + SKEWS}


def main(port: int) -> None:
    """Serve until the process is ended."""
    warnings.simplefilter("ignore")
    from authlib.oidc.core.grants import code
    from oidc_provider_mock import _app
    from werkzeug.serving import make_server

    code.jwt = SimpleNamespace(encode=_with_faults(code.jwt.encode))
    people = [_app.User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    make_server("127.0.0.1", port, _app.app(user_claims=people), threaded=True).serve_forever()


def _with_faults(encode: Any) -> Any:
    from joserfc.jwk import OctKey, RSAKey

    def encoded(header: dict[str, Any], claims: dict[str, Any], key: Any, _: list[str]) -> str:
        fault = claims["sub"]
        claims = {k: v for k, v in (claims | _claims(fault)).items() if v is not None}
        if fault == "unsigned":
            parts = (json.dumps(one).encode() for one in ({"alg": "none"}, claims))
            return b".".join(map(base64.urlsafe_b64encode, parts)).decode().replace("=", "") + "."
        if fault == "algorithm":  # with a secret that the dashboard knows, too
            secret = OctKey.import_key(SECRET)
            return str(encode({"alg": "HS256"}, claims, secret, ["HS256"]))
        key = RSAKey.generate_key(2048) if fault == "key" else key
        return str(encode(header, claims, key, [header["alg"]]))

    return encoded


def _claims(fault: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "issuer": {"iss": "https://another.example"},
        "audience": {"aud": ["another-client"]},
        "party": {"aud": [CLIENT, "other"], "azp": "other"},
        "nonce": {"nonce": "of another sign-in"},
        "no-nonce": {"nonce": None},
        "expired": {"iat": now - 4000, "exp": now - 400},
        "early": {"iat": now + 4000, "nbf": now + 4000, "exp": now + 8000},
        "no-subject": {"sub": None},
        "behind": {"iat": now - 3690, "exp": now - 90},
        "ahead": {"iat": now + 90, "nbf": now + 90, "exp": now + 3690},
    }.get(fault, {})


if __name__ == "__main__":
    main(int(sys.argv[1]))
