-- Run once by the postgres image, as its superuser, in a new volume: the role that Headwise connects as
-- owns its database and may make the SQL console's role, and is no superuser.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/postgres-password`
CREATE ROLE headwise LOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION PASSWORD :'password';
GRANT SET ON PARAMETER temp_file_limit, log_min_messages TO headwise;
CREATE DATABASE headwise OWNER headwise;
