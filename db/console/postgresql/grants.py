"""The roles of the SQL console that a database has, and their rights on the published views."""

from __future__ import annotations

from db.console.postgresql.allowed import BOUNDED
from db.transaction import Transaction
from db.views import VIEW_NAMES

# The role that owns the schema may use it, too.
_CONSOLE_ROLES = f"""
SELECT DISTINCT quote_ident(r.rolname)
FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE n.nspname = '{BOUNDED}' AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner
    AND array_to_string(r.rolconfig, ' ') LIKE '%search_path={BOUNDED},%'
"""  # noqa: S608 - constants


def console_roles(tx: Transaction) -> list[str]:
    """Names of the roles that were made for the console of this database, quoted."""
    return list(tx.run(_CONSOLE_ROLES).scalars())


def grant_views(tx: Transaction) -> None:
    """Allow the console's roles, if there are any, to read the published views."""
    if roles := console_roles(tx):
        tx.run_as_is(f"GRANT SELECT ON {', '.join(VIEW_NAMES)} TO {', '.join(roles)}")
