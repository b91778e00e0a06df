"""What GaussDB's catalogs have beyond PostgreSQL's, as SQL to run once per upstream database; and '' as NULL in mode A."""

from __future__ import annotations

import re

from tidegate.sandbox.gauss_refusals import UNKNOWN_SETTINGS
from tidegate.sandbox.sqltext import literal

SCHEMA = "tidegate_sandbox"

RELATIONS = frozenset({"pg_database", "pg_settings", "pgxc_class"})
"""Catalogs that have a stand-in in our schema."""

_CATALOGS = """
CREATE SCHEMA IF NOT EXISTS tidegate_sandbox
;
GRANT USAGE ON SCHEMA tidegate_sandbox TO PUBLIC
;
CREATE OR REPLACE FUNCTION tidegate_sandbox.version() RETURNS text LANGUAGE sql STABLE AS $f$ SELECT {version}::text $f$
;
CREATE OR REPLACE VIEW tidegate_sandbox.pg_database AS
SELECT *, {compatibility}::name AS datcompatibility FROM pg_catalog.pg_database
;
CREATE OR REPLACE VIEW tidegate_sandbox.pg_settings AS
SELECT * FROM pg_catalog.pg_settings WHERE name NOT IN ({hidden})
;
CREATE TABLE IF NOT EXISTS tidegate_sandbox.pgxc_class
  (pcrelid oid PRIMARY KEY, pclocatortype "char", pchashalgorithm int2, pchashbuckets int2, pcattnum int2vector, pgroup name)
;
GRANT SELECT ON tidegate_sandbox.pg_database, tidegate_sandbox.pg_settings, tidegate_sandbox.pgxc_class TO PUBLIC
"""

_DISTRIBUTE = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.distribute(relation regclass, locator "char", names text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
DECLARE
  numbers int2[];
BEGIN
  numbers := ARRAY(SELECT a.attnum FROM unnest(names) WITH ORDINALITY AS n (name, place)
                   JOIN pg_attribute a ON a.attrelid = relation AND a.attname = n.name AND a.attnum > 0 ORDER BY n.place);
  IF cardinality(numbers) < cardinality(names) THEN
    RAISE undefined_column USING MESSAGE = 'Invalid distribution column specified';
  END IF;
  INSERT INTO tidegate_sandbox.pgxc_class AS c
  VALUES (relation, locator, 1, 4096, array_to_string(numbers, ' ')::int2vector, 'group_version1')
  ON CONFLICT (pcrelid) DO UPDATE SET pclocatortype = excluded.pclocatortype, pcattnum = excluded.pcattnum;
END $f$
;
CREATE OR REPLACE FUNCTION tidegate_sandbox.distribute_new() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
DECLARE
  made record;
  names text[];
BEGIN
  FOR made IN SELECT d.objid FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.oid = d.objid
              WHERE d.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p') LOOP
    -- Without DISTRIBUTE BY: the primary key, else the first column.
    SELECT array_agg(a.attname::text ORDER BY a.attnum) INTO names FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = made.objid AND i.indisprimary;
    IF names IS NULL THEN
      SELECT ARRAY[a.attname::text] INTO names FROM pg_attribute a
      WHERE a.attrelid = made.objid AND a.attnum > 0 ORDER BY a.attnum LIMIT 1;
    END IF;
    IF names IS NOT NULL THEN
      PERFORM tidegate_sandbox.distribute(made.objid, 'H', names);
    END IF;
  END LOOP;
END $f$
;
DROP EVENT TRIGGER IF EXISTS tidegate_sandbox_distribute
;
CREATE EVENT TRIGGER tidegate_sandbox_distribute ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
EXECUTE FUNCTION tidegate_sandbox.distribute_new()
"""

# A column of type char(n) can't say whether it was given '' or spaces: both become NULL.
_EMPTY_IS_NULL = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.empty_is_null(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
DECLARE
  body text;
  named regprocedure;
BEGIN
  SELECT string_agg(format('IF NEW.%1$I = '''' THEN NEW.%1$I := NULL; END IF;', a.attname), ' ') INTO body
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND coalesce(b.oid, t.oid) IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype);
  EXECUTE format('DROP TRIGGER IF EXISTS aa_tidegate_sandbox ON %s', relation::regclass);
  IF body IS NOT NULL THEN
    EXECUTE format('CREATE OR REPLACE FUNCTION tidegate_sandbox.%I() RETURNS trigger LANGUAGE plpgsql AS %L',
                   'empty_' || relation, 'BEGIN ' || body || ' RETURN NEW; END');
    EXECUTE format('CREATE TRIGGER aa_tidegate_sandbox BEFORE INSERT OR UPDATE ON %s FOR EACH ROW '
                   'EXECUTE FUNCTION tidegate_sandbox.%I()', relation::regclass, 'empty_' || relation);
    -- It stands for what the server does by itself: nobody is to take it for a user's trigger.
    UPDATE pg_trigger SET tgisinternal = true WHERE tgrelid = relation AND tgname = 'aa_tidegate_sandbox';
  END IF;
END $f$
;
CREATE OR REPLACE FUNCTION tidegate_sandbox.empty_new() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
BEGIN
  PERFORM tidegate_sandbox.empty_is_null(d.objid)
  FROM (SELECT DISTINCT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass) d
  JOIN pg_class c ON c.oid = d.objid WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition;
END $f$
;
DROP EVENT TRIGGER IF EXISTS tidegate_sandbox_empty
;
CREATE EVENT TRIGGER tidegate_sandbox_empty ON ddl_command_end
WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE') EXECUTE FUNCTION tidegate_sandbox.empty_new()
"""

_CLEAN = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.dropped() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
DECLARE
  gone record;
BEGIN
  FOR gone IN SELECT objid FROM pg_event_trigger_dropped_objects() WHERE classid = 'pg_class'::regclass AND objsubid = 0 LOOP
    DELETE FROM tidegate_sandbox.pgxc_class WHERE pcrelid = gone.objid;
    EXECUTE format('DROP FUNCTION IF EXISTS tidegate_sandbox.%I()', 'empty_' || gone.objid);
  END LOOP;
END $f$
;
DROP EVENT TRIGGER IF EXISTS tidegate_sandbox_dropped
;
CREATE EVENT TRIGGER tidegate_sandbox_dropped ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA')
EXECUTE FUNCTION tidegate_sandbox.dropped()
"""

_QUIET = "SET LOCAL client_min_messages = warning"


def bootstrap(version: str, compatibility: str, *, distributed: bool) -> list[str]:
    """The statements that give a database GaussDB's catalogs and its compatibility."""
    given = {
        "version": literal(version),
        "compatibility": literal(compatibility),
        "hidden": ", ".join(map(literal, sorted(UNKNOWN_SETTINGS))),
    }
    scripts = [
        _QUIET,
        re.sub(r"\{(version|compatibility|hidden)\}", lambda found: given[found[1]], _CATALOGS),
        _CLEAN,
    ]
    if distributed:
        scripts.append(_DISTRIBUTE)
    if compatibility == "A":
        scripts.append(_EMPTY_IS_NULL)
    return scripts
