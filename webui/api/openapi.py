"""The API's document, as the API itself serves it."""

from __future__ import annotations

import json

from flask import Blueprint, Response, current_app

from webui.contract.document import document
from webui.contract.operations import JSON, operation

TAG = "The API"

# An endpoint "openapi..." would be left out of the document by spectree.
blueprint = Blueprint("document_api", __name__, url_prefix="/api/v1")


@blueprint.get("/openapi.json")
@operation(TAG)
def get_document() -> Response:
    """Get this document."""
    return Response(json.dumps(described(), ensure_ascii=False), content_type=JSON)


def described() -> dict[str, object]:
    """The document of this application, made once."""
    known: dict[str, object] = current_app.extensions.setdefault("headwise-openapi", {})
    if not known:
        known.update(document(current_app._get_current_object()))  # type: ignore[attr-defined]
    return known
