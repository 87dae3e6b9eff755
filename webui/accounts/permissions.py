"""The permission that each endpoint needs, and what the audit log calls it.

An endpoint that is not listed answers nobody; a test holds that each is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Permission(StrEnum):
    """Permissions of people."""

    PUBLIC = "come in"
    """Everybody, without having signed in. Nothing of the store is shown."""
    READ = "read"
    """Viewers: every result, and SQL."""
    SUBMIT = "submit"
    """Members, with priorities up to the setting `member_priority`."""
    CHANGE_JOB = "change this job"
    """The owner of the job, if they are a member; administrators, who alone may raise its priority
    above `member_priority`."""
    CHANGE_STUDY = "change this study"
    CHANGE_RECURRING = "change this recurring job"
    CHANGE_RECIPIENT = "change this recipient"
    OWN = "change your account"
    """Everybody, for what is their own; a token only with the scope admin."""
    ADMIN = "administer"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The permission that an endpoint needs, and its name in the audit log."""

    permission: Permission
    action: str = ""
    """Its name in the audit log, with {names} of the address filled in; empty for reading."""


@dataclass(frozen=True, kw_only=True)
class Owned:
    """Something that belongs to a person."""

    table: Literal["job", "study", "recurring", "recipient"]
    argument: str
    """The name of its number in addresses."""
    noun: str


OWNED = {
    Permission.CHANGE_JOB: Owned(table="job", argument="job_id", noun="job"),
    Permission.CHANGE_STUDY: Owned(table="study", argument="study", noun="study"),
    Permission.CHANGE_RECURRING: Owned(table="recurring", argument="number", noun="recurring job"),
    Permission.CHANGE_RECIPIENT: Owned(table="recipient", argument="number", noun="recipient"),
}
"""The things that the permissions which depend on an owner are about."""

_P = Permission
READS, SUBMITS = Rule(permission=_P.READ), Rule(permission=_P.SUBMIT)
_PUBLIC, _ADMINISTERS = Rule(permission=_P.PUBLIC), Rule(permission=_P.ADMIN)
_JOB = Rule(permission=_P.CHANGE_JOB, action="{action} job")
_STUDY = Rule(permission=_P.CHANGE_STUDY, action="{action} study")
_RECURRING = Rule(permission=_P.CHANGE_RECURRING, action="{action} recurring job")


def _submits(action: str) -> Rule:
    return Rule(permission=_P.SUBMIT, action=action)


def _own(action: str) -> Rule:
    return Rule(permission=_P.OWN, action=action)


def _admin(action: str) -> Rule:
    return Rule(permission=_P.ADMIN, action=action)


_EXPORT = Rule(permission=_P.READ, action="export")

RULES: dict[str, Rule] = {
    # Before anybody has signed in.
    **dict.fromkeys(("assets.serve", "assets.favicon", "ops.healthz", "ops.readyz"), _PUBLIC),
    **dict.fromkeys(("sign_in.show", "sign_in.enter", "sign_in.leave"), _PUBLIC),
    **dict.fromkeys(("sign_in.begin_oidc", "sign_in.finish_oidc"), _PUBLIC),
    **dict.fromkeys(("sign_in.welcome", "sign_in.choose_password"), _PUBLIC),
    "ops.metrics": READS,
    # Pages.
    **dict.fromkeys(("jobs.index", "jobs.moved", "jobs.show"), READS),
    **dict.fromkeys(("jobs.help_page", "jobs.about"), READS),
    **dict.fromkeys(("operations.show", "operations.processes", "operations.show_worker"), READS),
    "operations.old_address": READS,
    "operations.remove": _admin("{action} jobs"),
    "jobs.act": _JOB,
    # It asks for each job whose it is, and writes each to the audit log.
    **dict.fromkeys(("jobs.act_on_many", "job_api.act_on_jobs"), SUBMITS),
    "jobs.change_job": Rule(permission=_P.CHANGE_JOB, action="change job"),
    **dict.fromkeys(("watch.notices", "watch.waiting"), READS),
    "watch.download": _EXPORT,
    **dict.fromkeys(("results.head", "results.example", "rankings.compare"), READS),
    **dict.fromkeys(("comparison.show", "comparison.choose", "compare_api.compare_jobs"), READS),
    **dict.fromkeys(("figure_api.list_figures", "figure_api.get_figure"), READS),
    **dict.fromkeys(("figure_api.list_example_figures", "figure_api.get_example_figure"), READS),
    **dict.fromkeys(("figure_api.list_study_figures", "figure_api.get_study_figure"), READS),
    **dict.fromkeys(("report_api.get_report", "report_api.get_pdf_report"), READS),
    **dict.fromkeys(("figure_api.get_compared_figure", "figure_api.get_figure_of_studies"), READS),
    "results.export": _EXPORT,
    # The console writes its queries to the audit log itself.
    **dict.fromkeys(("console.show", "console.run", "console.cell", "console.download"), READS),
    "console.draw_chart": READS,
    **dict.fromkeys(("own_queries.index", "own_queries.open_link"), READS),
    "own_queries.save": _own("save query"),
    "own_queries.change": _own("{action} query"),
    "own_queries.forget": _own("delete history of queries"),
    **dict.fromkeys(("new_job.show", "new_job.check_form", "new_job.preview"), SUBMITS),
    "new_job.create": _submits("submit"),
    **dict.fromkeys(("lab.show", "lab.old_form", "lab.old_result"), READS),
    "lab.create": _submits("submit"),
    **dict.fromkeys(
        ("matrices.compute_matrix", "head_api.compute_matrix"), _submits("compute matrix")
    ),
    "first_visit.run_demo": _submits("submit"),
    "lab.export": _EXPORT,
    **dict.fromkeys(("studies.index", "studies.show", "studies.compare"), READS),
    **dict.fromkeys(("studies.form", "studies.check_form"), SUBMITS),
    "studies.create": _submits("submit"),
    "studies.act": _STUDY,
    "recurring.index": READS,
    "recurring.act": _RECURRING,
    **dict.fromkeys(("notifications.index", "notifications.ended"), READS),
    "notifications.add": _submits("add recipient"),
    "notifications.act": Rule(permission=_P.CHANGE_RECIPIENT, action="{action} recipient"),
    "notifications.tell": _submits("change recipients"),
    # The API.
    **dict.fromkeys(("job_api.list_jobs", "job_api.get_job", "job_api.explain_waiting"), READS),
    **dict.fromkeys(("job_api.list_shards", "job_api.read_log"), READS),
    "job_api.create_job": _submits("submit"),
    "job_api.check_job": SUBMITS,
    "job_api.change_job": Rule(permission=_P.CHANGE_JOB, action="change job"),
    "job_api.delete_job": Rule(permission=_P.CHANGE_JOB, action="delete job"),
    "job_api.control_job": _JOB,
    **dict.fromkeys(("result_api.list_heads", "result_api.list_rankings"), READS),
    **dict.fromkeys(("result_api.list_examples", "result_api.get_example"), READS),
    **dict.fromkeys(("head_api.get_head", "head_api.get_completeness"), READS),
    **dict.fromkeys(("head_api.get_confusion", "head_api.get_correlation"), READS),
    **dict.fromkeys(("head_api.list_alike", "head_api.get_head_tokens"), READS),
    **dict.fromkeys(("head_api.get_matrix", "head_api.list_matrices"), READS),
    **dict.fromkeys(("head_api.get_tree", "job_api.download_log"), _EXPORT),
    **dict.fromkeys(("console_api.list_views", "console_api.list_saved_queries"), READS),
    **dict.fromkeys(("console_api.list_own_queries", "console_api.get_linked_query"), READS),
    "console_api.save_query": _own("save query"),
    "console_api.rename_query": _own("rename query"),
    "console_api.delete_query": _own("delete query"),
    "quick_api.list_presets": SUBMITS,
    **dict.fromkeys(("quick_api.explain", "quick_api.try_attack"), _submits("submit")),
    "study_api.compare": READS,
    **dict.fromkeys(("study_api.list_studies", "study_api.get_study"), READS),
    "study_api.create_study": _submits("submit"),
    "study_api.check": SUBMITS,
    "study_api.restart": Rule(permission=_P.CHANGE_STUDY, action="restart study"),
    "study_api.control": _STUDY,
    **dict.fromkeys(("recurring_api.list_recurring", "recurring_api.get_recurring"), READS),
    "recurring_api.create_recurring": _submits("add recurring job"),
    "recurring_api.delete_recurring": Rule(
        permission=_P.CHANGE_RECURRING, action="remove recurring job"
    ),
    "recurring_api.control_recurring": _RECURRING,
    **dict.fromkeys(("tables_api.get_arrow_table", "tables_api.get_csv_table"), _EXPORT),
    **dict.fromkeys(
        ("tables_api.run_sql", "tables_api.run_sql_as_csv", "tables_api.explain_sql"), READS
    ),
    **dict.fromkeys(("tables_api.run_sql_as_json", "tables_api.run_sql_as_parquet"), READS),
    "upload_api.upload": _submits("upload"),
    "upload_api.preview_file": SUBMITS,
    **dict.fromkeys(("system_api.system", "system_api.list_workers"), READS),
    **dict.fromkeys(("operations_api.get_operations", "operations_api.list_sizes"), READS),
    "operations_api.get_worker": READS,
    "figure_api.get_queue_figure": READS,
    "figure_api.get_worker_figure": READS,
    **dict.fromkeys(("document_api.get_document", "api_reference.show"), READS),
    **dict.fromkeys(
        (
            *("notifications_api.list_recipients", "notifications_api.list_notifications"),
            "notifications_api.get_job_recipients",
        ),
        READS,
    ),
    "notifications_api.create_recipient": _submits("add recipient"),
    "notifications_api.delete_recipient": Rule(
        permission=_P.CHANGE_RECIPIENT, action="remove recipient"
    ),
    "notifications_api.test_recipient": Rule(
        permission=_P.CHANGE_RECIPIENT, action="test recipient"
    ),
    "notifications_api.set_job_recipients": _submits("change recipients"),
    # People.
    "account.show": Rule(permission=_P.OWN),
    "account.change_password": _own("change password"),
    # The identity provider's answer writes to the audit log itself.
    "account.link_identity": Rule(permission=_P.OWN),
    "account.end_session": _own("end session"),
    "account.sign_out_everywhere": _own("sign out everywhere"),
    "people_api.get_person": READS,
    "people_api.list_tokens": Rule(permission=_P.OWN),
    "people_api.create_token": _own("create token"),
    "people_api.delete_token": _own("revoke token"),
    **dict.fromkeys(("people_api.list_accounts", "people_api.list_audit"), _ADMINISTERS),
    "people_api.create_account": _admin("add account"),
    "people_api.change_account": _admin("change account"),
    "people_api.delete_account": _admin("remove account"),
    "people_api.create_link": _admin("reset account"),
    "people_api.end_sessions": _admin("sign-out account"),
    "people_api.list_account_tokens": _ADMINISTERS,
    "people_api.revoke_account_token": _admin("revoke token"),
    "people_api.unlink_account": _admin("unlink account"),
    "account.create_token": _own("create token"),
    "account.revoke_token": _own("revoke token"),
    "audit.index": _ADMINISTERS,
    "people.index": _ADMINISTERS,
    "people.add": _admin("add account"),
    "people.revoke_token": _admin("revoke token"),
    "people.act": _admin("{action} account"),
}
"""Rules of the endpoints that are no kind's; those of a kind are in its `KindPage`."""
