"""Functions of PostgreSQL that are taken from the SQL console's role.

They can be taken from PUBLIC only, which is everyone. So they are given back to the owner of the
tables, and to those who may read everything: pg_dump needs two of them.
"""

from __future__ import annotations

import logging

from db.transaction import Transaction

# Names of functions that a read-only transaction does not prevent, in every schema and with all
# overloads: large objects, locks that outlive a statement, settings (including the time limit),
# messages, WAL records, sleeping, functions that run text as SQL, other sessions, other servers.
_DANGEROUS = (
    r"^(lo_.*|lowrite|loread|pg_(try_)?advisory_.*|set_config|pg_notify|pg_sleep.*"
    r"|.*_to_xml|.*_to_xmlschema|.*_to_xml_and_xmlschema|ts_stat|ts_rewrite"
    r"|pg_(cancel|terminate)_backend|pg_export_snapshot|pg_logical_.*|pg_replication_.*"
    r"|pg_create_.*|pg_drop_.*|pg_current_xact_id|txid_current|pg_read_.*|pg_ls_.*"
    r"|pg_stat_file|pg_stat_reset.*|dblink.*)$"
)
_EXECUTABLE = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.prokind = 'f' AND p.proname ~ :names AND has_function_privilege(:role, p.oid, 'EXECUTE')
ORDER BY 1
"""
# Functions without initial privileges are everyone's until somebody takes them away.
_TAKEN = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.prokind = 'f' AND p.proname ~ :names AND p.proacl IS NOT NULL
    AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)
    AND NOT EXISTS (SELECT FROM pg_init_privs i
        WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
ORDER BY 1
"""
_KEEPERS = """
SELECT DISTINCT quote_ident(r.rolname) FROM pg_roles r
WHERE r.rolname = 'pg_read_all_data' OR NOT r.rolsuper AND (
    r.rolname = current_user
    OR r.oid IN (SELECT relowner FROM pg_class WHERE oid = to_regclass('job'))
)
"""
_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"

_log = logging.getLogger(__name__)


def take_functions(tx: Transaction, role: str) -> None:
    """Take the dangerous functions from PUBLIC, once; only a superuser can."""
    functions = list(tx.run(_EXECUTABLE, names=_DANGEROUS, role=role).scalars())
    if not tx.run(_SUPERUSER).scalar():
        if functions:
            _log.warning(
                "The console refuses %d functions, such as %s, but its role may call them. To take "
                "them from it, run `headwise migrate --console-role` once as a superuser.",
                len(functions),
                functions[0],
            )
        return
    if functions:
        tx.run_as_is(f"REVOKE EXECUTE ON FUNCTION {', '.join(functions)} FROM PUBLIC")
    taken = ", ".join(tx.run(_TAKEN, names=_DANGEROUS).scalars())
    keepers = ", ".join(tx.run(_KEEPERS).scalars())
    if taken and keepers:
        tx.run_as_is(f"GRANT EXECUTE ON FUNCTION {taken} TO {keepers}")
