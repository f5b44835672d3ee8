#!/bin/sh
# Run once, by the image of PostgreSQL, when the cluster is made: the mall's role owns its database
# and is nothing more. The password comes in by the environment, never by an argument.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE mall LOGIN PASSWORD :'password';
CREATE DATABASE mall OWNER mall;
REVOKE ALL ON DATABASE mall FROM PUBLIC;
SQL
