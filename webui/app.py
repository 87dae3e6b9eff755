"""The dashboard and its JSON API: the application factory, headers and error pages."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, render_template, request, url_for
from flask_compress import Compress
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from db.database import Database
from db.reads import jobs as job_reads
from db.views import VIEWS
from headwise.naming import head_name, site_label
from jobs import formatting
from jobs.errors import (
    ConflictError,
    ForbiddenError,
    HeadwiseError,
    InputError,
    LimitError,
    NotFoundError,
    Problem,
    SignInError,
    UnavailableError,
)
from jobs.inputs.data.uploads import original_name
from jobs.kinds import ranking_source
from jobs.settings import Settings
from webui import health
from webui.accounts.enforcement import install
from webui.accounts.origins import is_address, is_foreign, is_host_of
from webui.accounts.permissions import RULES
from webui.accounts.person import user_name
from webui.assets import VERSION
from webui.context import Context, context, same_page
from webui.contract import deprecation
from webui.contract.idempotency import KeyReusedError
from webui.contract.problems import MEDIA_TYPE, NO_ADDRESS, RETRY_SECONDS
from webui.contract.problems import body as problem_body
from webui.filters import FILTERS, level
from webui.heads import site_name
from webui.kinds import PAGES
from webui.polling import add_tag, live_tag
from webui.server.request_log import REQUEST
from webui.server.routes import SMALL_BODY, WITH_FILES, limit_body

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
COMPRESSED = [
    *("text/html", "text/css", "text/javascript", "text/csv", "text/plain"),
    *("image/svg+xml", "application/json", "application/problem+json"),
]
OWN_NAMES = ("127.0.0.1", "localhost", "::1", ".localhost")
"""Names of this machine, which are trusted everywhere."""
STATUS: dict[type[HeadwiseError], HTTPStatus] = {
    KeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    LimitError: HTTPStatus.TOO_MANY_REQUESTS,
    InputError: HTTPStatus.BAD_REQUEST,
    SignInError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Dashboard(Flask):
    """Flask, with 404 for a job that is deleted while a request reads it.

    A page reads its job, then more of it in transactions of their own. Once the job is deleted that
    is empty: not the job as it was, and often an error.
    """

    def dispatch_request(self) -> Response:
        """Answer a request. Raises NotFoundError for a job that was deleted meanwhile."""
        try:
            response: Response = self.make_response(super().dispatch_request())
        except (NotFoundError, UnavailableError, HTTPException):
            raise
        except Exception:
            _check_job()
            raise
        if request.method in ("GET", "HEAD") and response.status_code == HTTPStatus.OK:
            _check_job()
        return response


def _check_job() -> None:
    """Raise NotFoundError if there is a job in the address and it is gone."""
    job_id = (request.view_args or {}).get("job_id")
    if job_id is not None:
        job_reads.check_exists(context().database, job_id)


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Create it after a fork: it opens the database."""
    app = Dashboard(__name__, static_folder=None)
    # An address with "//" would be answered with a redirection, which is a page.
    app.url_map.merge_slashes = False
    app.config["MAX_FORM_MEMORY_SIZE"] = SMALL_BODY
    app.extensions["headwise"] = Context(settings=settings, database=Database(settings.database))
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.globals.update(
        asset=_asset,
        counted=formatting.counted,
        percentage_points=formatting.percentage_points,
        head_name=head_name,
        same_page=same_page,
        site_label=site_label,
        site_name=site_name,
        level=level,
        ranking_source=ranking_source,
        live_tag=live_tag,
        upload_name=original_name,
        views=VIEWS,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.policies["json.dumps_kwargs"] = {}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.config["COMPRESS_MIMETYPES"] = COMPRESSED
    # Registered first, run last: it compresses what the others have finished.
    Compress(app)
    _register(app)
    app.before_request(_refuse_other_names)
    app.before_request(_refuse_foreign)
    app.before_request(limit_body)
    install(
        app, RULES | {name: rule for page in PAGES.values() for name, rule in page.rules.items()}
    )
    app.after_request(_note_user)
    app.after_request(_add_headers)
    app.after_request(add_tag)
    app.register_error_handler(HeadwiseError, _on_headwise_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_bug)
    return app


def _register(app: Flask) -> None:
    """Add every page, and every resource of the API: each module has a blueprint."""
    from webui import accounts, api, assets, pages

    app.register_blueprint(assets.blueprint)
    app.register_blueprint(health.blueprint)
    health.watch(app)
    for package in (pages, api, accounts):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            if blueprint := getattr(module, "blueprint", None):
                app.register_blueprint(blueprint)
    for page in PAGES.values():
        if page.blueprint is not None:
            app.register_blueprint(page.blueprint)


def _asset(name: str) -> str:
    return url_for("assets.serve", version=VERSION, name=name)


def _refuse_other_names() -> Response | None:
    """Refuse names that are not trusted: another site can point its own name here (DNS rebinding).

    Flask's TRUSTED_HOSTS does not support IPv6 addresses.
    """
    settings = context().settings
    named = tuple(filter(None, settings.trusted_hosts.split(",")))
    if is_host_of(request.host, (*OWN_NAMES, *named)):
        return None
    # Prometheus and probes come by a pod's address, which no site can point anywhere else.
    if request.blueprint == health.blueprint.name and is_address(request.host):
        return None
    problem = Problem(
        field="Host",
        value=request.host,
        message="is not a trusted name of the dashboard",
        remedy="Open it as localhost, or add the name to HEADWISE_TRUSTED_HOSTS and restart.",
    )
    return _error(HTTPStatus.BAD_REQUEST, "Unknown host name", [problem])


def _refuse_foreign() -> Response | None:
    """Refuse changes from other sites: their pages would act as the user, signed in or not."""
    if request.method in ("GET", "HEAD", "OPTIONS") or not is_foreign():
        return None
    problem = Problem(
        field="Origin",
        value=request.headers.get("Origin"),
        message="the request comes from another site",
        remedy="Send it from a page of this dashboard, or without an Origin header.",
    )
    return _error(HTTPStatus.FORBIDDEN, "Cross-site request refused", [problem])


def _note_user(response: Response) -> Response:
    if request_log := request.environ.get(REQUEST):
        request_log.user = user_name()
    return response


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-cache")
    deprecation.add_headers(response)
    if request.method == "OPTIONS" and response.status_code == HTTPStatus.OK:
        # Flask says that nothing is a page.
        response.headers.pop("Content-Type", None)
    return response


def _on_headwise_error(error: HeadwiseError) -> Response:
    kinds = (kind for kind in type(error).__mro__ if kind in STATUS)
    status = STATUS.get(next(kinds, HeadwiseError), HTTPStatus.BAD_REQUEST)
    problems: list[Problem] = []
    title = str(error)
    if isinstance(error, InputError):
        title, problems = "Invalid request", list(error.problems)
    elif isinstance(error, UnavailableError):
        log.warning("unavailable: %s", error)
        title = f"{error.what} unavailable"
        remedy = "Try again in a moment; if it persists, `headwise doctor` and the logs say why."
        problems = [Problem(field="server", value=None, message=str(error), remedy=remedy)]
    return _error(status, title, problems)


def _on_http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = HTTPStatus(error.code or 500)
    message, remedy = str(error.description or status.phrase), ""
    if isinstance(error, RequestEntityTooLarge):
        message, remedy = _too_large()
    elif status in _REFUSALS:
        message, remedy = _REFUSALS[status]
    elif status is HTTPStatus.NOT_FOUND:
        message, remedy = "there is nothing at this address", "Start from the list of jobs."
        if wants_json():
            remedy = "GET /api/v1/openapi.json lists every address."
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        known = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        message = f"the method {request.method} is not allowed at this address"
        remedy = f"Allowed: {known}."
    elif status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        message = f"the body is {request.mimetype or 'of no type'}, but this address takes JSON"
        remedy = "Send it with the header Content-Type: application/json."
    problem = Problem(field="request", value=request.path, message=message, remedy=remedy)
    response = _error(status, status.phrase, [problem])
    # Flask lists the methods that are allowed in the error's own headers.
    allowed = dict(error.get_headers()).get("Allow")
    if allowed:
        response.headers["Allow"] = allowed
    return response


_REFUSALS = {
    HTTPStatus.REQUEST_TIMEOUT: (
        "the request did not arrive in time",
        "Send the whole request without pauses.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "the dashboard has as many requests of this kind as it can answer",
        "Try again in a few seconds.",
    ),
}


def _too_large() -> tuple[str, str]:
    """The limit that a request exceeds, and the remedy."""
    limit = request.max_content_length or 0
    if request.content_length and request.content_length <= limit:
        return (
            f"a field of the form is larger than {SMALL_BODY >> 20} MB, or it has too many parts",
            "Send the data as a file, in one field.",
        )
    if request.endpoint in WITH_FILES:
        limit = context().settings.upload_megabytes
        return (
            f"the request is larger than the {limit} MB that an upload may have",
            "Put the file into an allowed folder, or raise HEADWISE_UPLOAD_MEGABYTES.",
        )
    return (
        f"the request is larger than the {limit >> 20} MB that it may have",
        "Send less; upload a data file, or put it into an allowed folder.",
    )


def _on_bug(error: Exception) -> Response:
    log.exception("request failed: %s %s", request.method, request.path, exc_info=error)
    problem = Problem(
        field="request",
        value=request.path,
        message="an internal error occurred; the log has its cause",
        remedy="Please report it.",
    )
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error", [problem])


def wants_json() -> bool:
    """True if the client wants errors as JSON: under /api, or where it does not accept HTML."""
    best: Callable[..., str | None] = request.accept_mimetypes.best_match
    return f"{request.path}/".startswith("/api/") or (
        best(["text/html", "application/json"], default="text/html") == "application/json"
    )


def _error(status: HTTPStatus, title: str, problems: list[Problem]) -> Response:
    if wants_json():
        whole = problems or [Problem(field="request", value=request.path, message=title)]
        # Where a route matched, something else is not there: a job, or a study.
        unknown = status is HTTPStatus.NOT_FOUND and request.endpoint is None
        kind = NO_ADDRESS[0] if unknown else None
        response = Response(problem_body(status, title, whole, kind=kind), content_type=MEDIA_TYPE)
    else:
        page = render_template("error.html", status=status, title=title, problems=problems)
        response = Response(page, mimetype="text/html")
    response.status_code = status
    if status in RETRY_SECONDS:
        response.headers["Retry-After"] = str(RETRY_SECONDS[status])
    return response
