"""What AnalyticDB for PostgreSQL's catalog has and PostgreSQL's lacks, and the rules of Greenplum for distribution keys.

Everything is made in the upstream database: the policies in ``pg_catalog.gp_distribution_policy``, laid out as in Greenplum 6, kept
by event triggers; views of the catalog as a 9.4 kernel shows it in the schema ``tidegate_sandbox``, whither names are rewritten.
The words of the errors are those of Greenplum 6 (gpdb ``parse_utilcmd.c``, ``cdbcat.c``, ``indexcmds.c``).
"""

from __future__ import annotations

from tidegate.sandbox.sqltext import literal

SCHEMA = "tidegate_sandbox"

TABLE_SETTING = f"{SCHEMA}.table"
"""Carries the clauses that PostgreSQL doesn't know from a CREATE TABLE to the event trigger behind it."""

VIEWS = frozenset({"pg_class", "pg_attribute", "pg_index", "pg_settings"})
"""Catalogs of the 9.4 kernel that differ from PostgreSQL 15's."""

ABSENT = frozenset(
    {
        "pg_partitioned_table",
        "pg_sequence",
        "pg_sequences",
        "pg_publication",
        "pg_publication_rel",
        "pg_publication_tables",
        "pg_subscription",
        "pg_statistic_ext",
        "pg_policy",
        "pg_policies",
        "pg_init_privs",
        "pg_replication_origin",
        "pg_hba_file_rules",
        "pg_file_settings",
        "pg_stat_progress_copy",
    }
)
"""Catalogs that came after 9.4."""

NEW_SETTINGS = frozenset(
    {
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "row_security",
        "tcp_user_timeout",
        "client_connection_check_interval",
        "max_parallel_workers_per_gather",
        "max_parallel_workers",
        "parallel_leader_participation",
        "force_parallel_mode",
        "jit",
        "plan_cache_mode",
        "default_table_access_method",
        "default_toast_compression",
        "enable_partitionwise_join",
        "enable_partitionwise_aggregate",
        "enable_partition_pruning",
        "enable_parallel_append",
        "enable_parallel_hash",
        "enable_gathermerge",
        "enable_incremental_sort",
        "enable_memoize",
        "hash_mem_multiplier",
        "logical_decoding_work_mem",
        "track_commit_timestamp",
    }
)
"""Settings that came after 9.4."""

# Greenplum's transformDistributedBy(). Without a clause the key is what the unique constraints have in common, else the first
# column that can be hashed, else rows are spread at random.
_DISTRIBUTE = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.distribute(target oid, wanted json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    policy text := wanted->>'policy';
    storage text := coalesce(wanted->>'storage', 'h');
    keys int2[] := '{}';
    number int2;
    item text;
    uniq record;
BEGIN
    DELETE FROM gp_distribution_policy WHERE localoid = target;
    DELETE FROM tidegate_sandbox.storage s WHERE s.relation = target;
    IF (SELECT relispartition FROM pg_class WHERE oid = target) THEN
        INSERT INTO gp_distribution_policy
        SELECT target, p.policytype, p.numsegments, p.distkey, p.distclass
        FROM gp_distribution_policy p JOIN pg_inherits i ON i.inhparent = p.localoid WHERE i.inhrelid = target;
        INSERT INTO tidegate_sandbox.storage SELECT target, s.storage, s.options
        FROM tidegate_sandbox.storage s JOIN pg_inherits i ON i.inhparent = s.relation WHERE i.inhrelid = target;
        RETURN;
    END IF;
    IF storage <> 'h' THEN
        INSERT INTO tidegate_sandbox.storage
        VALUES (target, storage, ARRAY(SELECT json_array_elements_text(wanted->'options')));
        IF EXISTS (SELECT 1 FROM pg_index WHERE indrelid = target AND indisunique) THEN
            RAISE EXCEPTION 'append-only tables do not support unique indexes' USING ERRCODE = '0A000';
        END IF;
    END IF;
    IF policy = 'p' THEN
        FOR item IN SELECT json_array_elements_text(wanted->'columns') LOOP
            SELECT attnum INTO number FROM pg_attribute WHERE attrelid = target AND attname = item AND NOT attisdropped;
            IF number IS NULL THEN
                RAISE EXCEPTION 'column "%" named in DISTRIBUTED BY clause does not exist', item USING ERRCODE = '42703';
            END IF;
            keys := keys || number;
        END LOOP;
        FOR uniq IN SELECT indisprimary AS main, ARRAY(SELECT unnest(indkey)) AS columns FROM pg_index
                    WHERE indrelid = target AND indisunique ORDER BY indisprimary DESC LOOP
            IF keys = '{}' THEN
                RAISE EXCEPTION '% and DISTRIBUTED RANDOMLY are incompatible',
                    CASE WHEN uniq.main THEN 'PRIMARY KEY' ELSE 'UNIQUE' END
                USING ERRCODE = '42P16';
            ELSIF NOT keys <@ uniq.columns THEN
                item := CASE WHEN uniq.main THEN 'PRIMARY KEY' ELSE 'UNIQUE constraint' END;
                RAISE EXCEPTION '% and DISTRIBUTED BY definitions are incompatible', item USING ERRCODE = '42P16',
                    HINT = format('When there is both a %s and a DISTRIBUTED BY clause, the DISTRIBUTED BY clause must be '
                                  'a subset of the %s.', item, item);
            END IF;
        END LOOP;
    ELSIF policy IS NULL THEN
        FOR uniq IN SELECT ARRAY(SELECT unnest(indkey)) AS columns FROM pg_index
                    WHERE indrelid = target AND indisunique ORDER BY indisprimary DESC, indexrelid LOOP
            keys := CASE WHEN keys = '{}' THEN uniq.columns
                    ELSE ARRAY(SELECT k FROM unnest(uniq.columns) WITH ORDINALITY AS u (k, n) WHERE k = ANY (keys) ORDER BY n) END;
            IF keys = '{}' THEN
                RAISE EXCEPTION 'UNIQUE or PRIMARY KEY definitions are incompatible with each other' USING ERRCODE = '42P16',
                    HINT = 'When there are multiple PRIMARY KEY / UNIQUE constraints, they must have at least one column '
                           'in common.';
            END IF;
        END LOOP;
        IF keys = '{}' THEN
            SELECT ARRAY[a.attnum] INTO keys FROM pg_attribute a
            WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid NOT IN (
                'json'::regtype, 'xml'::regtype, 'point'::regtype, 'line'::regtype, 'lseg'::regtype, 'box'::regtype,
                'path'::regtype, 'polygon'::regtype, 'circle'::regtype)
            ORDER BY a.attnum LIMIT 1;
            IF keys IS NOT NULL THEN
                RAISE NOTICE 'Table doesn''t have ''DISTRIBUTED BY'' clause -- Using column named ''%'' as the Greenplum Database '
                    'data distribution key for this table.',
                    (SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum = keys[1])
                USING HINT = 'The ''DISTRIBUTED BY'' clause determines the distribution of data. Make sure column(s) chosen are '
                             'the optimal data distribution key to minimize skew.';
            END IF;
        END IF;
    END IF;
    INSERT INTO gp_distribution_policy
    VALUES (target, CASE WHEN policy = 'r' THEN 'r' ELSE 'p' END, 2, array_to_string(coalesce(keys, '{}'), ' ')::int2vector, '');
END $body$
"""

# DefineIndex() and checkPolicyForUniqueIndex() of Greenplum 6.
_CHECK = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.check_indexes(target oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    policy record;
    uniq record;
    missing name;
BEGIN
    SELECT policytype, ARRAY(SELECT unnest(distkey)) AS keys INTO policy FROM gp_distribution_policy WHERE localoid = target;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR uniq IN SELECT CASE WHEN indisprimary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END AS what, ARRAY(SELECT unnest(indkey)) AS columns
                FROM pg_index WHERE indrelid = target AND indisunique LOOP
        IF EXISTS (SELECT 1 FROM tidegate_sandbox.storage s WHERE s.relation = target) THEN
            RAISE EXCEPTION 'append-only tables do not support unique indexes' USING ERRCODE = '0A000';
        ELSIF policy.policytype = 'p' AND policy.keys = '{}' THEN
            RAISE EXCEPTION '% and DISTRIBUTED RANDOMLY are incompatible', uniq.what USING ERRCODE = '42P16';
        ELSIF policy.policytype = 'p' AND NOT policy.keys <@ uniq.columns THEN
            FOR missing IN SELECT attname FROM pg_attribute
                           WHERE attrelid = target AND attnum = ANY (policy.keys) AND attnum <> ALL (uniq.columns) LOOP
                RAISE NOTICE '% index must contain all columns in the table''s distribution key.', uniq.what
                USING DETAIL = format('Distribution key column "%s" is not included in the constraint.', missing),
                      HINT = format('Add "%s" to the constraint with the operator.', missing);
            END LOOP;
            RAISE EXCEPTION '% must contain all columns in the distribution key of relation "%"',
                CASE uniq.what WHEN 'UNIQUE' THEN 'UNIQUE index' ELSE uniq.what END,
                (SELECT relname FROM pg_class WHERE oid = target)
            USING ERRCODE = '23505';
        END IF;
    END LOOP;
END $body$
"""

_ON_DDL = f"""
CREATE OR REPLACE FUNCTION tidegate_sandbox.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    command record;
    wanted json := coalesce(nullif(current_setting('{TABLE_SETTING}', true), ''), '{{}}');
BEGIN
    PERFORM set_config('{TABLE_SETTING}', '', true);
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type IN ('table', 'index') LOOP
        IF command.object_type = 'index' THEN
            PERFORM tidegate_sandbox.check_indexes((SELECT indrelid FROM pg_index WHERE indexrelid = command.objid));
        ELSIF command.command_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') THEN
            PERFORM tidegate_sandbox.distribute(command.objid, wanted);
        ELSE
            PERFORM tidegate_sandbox.check_indexes(command.objid);
        END IF;
    END LOOP;
END $body$
"""

_ON_DROP = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    gone record;
BEGIN
    FOR gone IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE classid = 'pg_class'::regclass LOOP
        IF gone.objsubid = 0 THEN
            DELETE FROM gp_distribution_policy WHERE localoid = gone.objid;
            DELETE FROM tidegate_sandbox.storage WHERE relation = gone.objid;
        ELSE
            UPDATE gp_distribution_policy SET distkey = '' WHERE localoid = gone.objid AND gone.objsubid = ANY (distkey::int2[]);
        END IF;
    END LOOP;
END $body$
"""

# ALTER TABLE … SET DISTRIBUTED: 6.x doesn't look at unique indexes again, but for RANDOMLY (tablecmds.c).
_REDISTRIBUTE = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.redistribute(relation regclass, policy text, columns text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    kept record;
BEGIN
    IF NOT pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = relation), 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of relation %', relation USING ERRCODE = '42501';
    END IF;
    IF policy = 'p' AND columns = '{}' AND EXISTS (SELECT 1 FROM pg_index WHERE indrelid = relation AND indisunique) THEN
        RAISE EXCEPTION 'cannot set to DISTRIBUTED RANDOMLY because relation has %',
            CASE WHEN EXISTS (SELECT 1 FROM pg_index WHERE indrelid = relation AND indisprimary) THEN 'primary Key'
            ELSE 'unique index' END
        USING ERRCODE = '42P16', HINT = 'Drop the primary key first.';
    END IF;
    SELECT coalesce(max(s.storage), 'h') AS storage, coalesce(max(s.options::text)::text[], '{}') AS options INTO kept
    FROM tidegate_sandbox.storage s WHERE s.relation = redistribute.relation;
    PERFORM tidegate_sandbox.distribute(relation, json_build_object(
        'policy', policy, 'columns', columns, 'storage', kept.storage, 'options', kept.options));
END $body$
"""

# Each row in turn: it takes the place of the row that has one of its unique values, else it is new.
_COPY_ROWS = """
CREATE OR REPLACE FUNCTION tidegate_sandbox.copy_rows(change text, fresh text) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    place tid;
    touched bigint;
BEGIN
    FOR place IN SELECT ctid FROM pg_temp.tidegate_sandbox_copy ORDER BY ctid LOOP
        EXECUTE change USING place;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 0 THEN
            EXECUTE fresh USING place;
        END IF;
    END LOOP;
END $body$
"""

_DISTRIBUTED_BY = """
CREATE OR REPLACE FUNCTION pg_catalog.pg_get_table_distributedby(oid) RETURNS text LANGUAGE sql STABLE AS $body$
SELECT CASE WHEN policytype = 'r' THEN 'DISTRIBUTED REPLICATED' WHEN distkey::text = '' THEN 'DISTRIBUTED RANDOMLY'
       ELSE 'DISTRIBUTED BY (' || (SELECT string_agg(quote_ident(attname), ', ' ORDER BY k.n)
           FROM unnest(distkey::int2[]) WITH ORDINALITY AS k (attnum, n)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = localoid AND a.attnum = k.attnum) || ')' END
FROM pg_catalog.gp_distribution_policy WHERE localoid = $1
$body$
"""

# Of pg_class a 9.4 kernel has relstorage and no partitions: Greenplum's are tables, told by pg_partition.
_CLASS = """
CREATE OR REPLACE VIEW tidegate_sandbox.pg_class AS
SELECT c.oid, c.relname, c.relnamespace, c.reltype, c.reloftype, c.relowner, c.relam, c.relfilenode, c.reltablespace, c.relpages,
       greatest(c.reltuples, 0) AS reltuples, c.relallvisible, c.reltoastrelid, c.relhasindex, c.relisshared, c.relpersistence,
       CASE c.relkind WHEN 'p' THEN 'r' WHEN 'I' THEN 'i' ELSE c.relkind END AS relkind,
       CASE c.relkind WHEN 'v' THEN 'v' WHEN 'f' THEN 'x' ELSE coalesce(s.storage, 'h') END::"char" AS relstorage,
       c.relnatts, c.relchecks, false AS relhasoids, c.relhasrules, c.relhastriggers, c.relhassubclass, c.relispopulated,
       c.relreplident, c.relfrozenxid, c.relminmxid, c.relacl, nullif(c.reloptions || s.options, '{}') AS reloptions
FROM pg_catalog.pg_class c LEFT JOIN tidegate_sandbox.storage s ON s.relation = c.oid
"""

# The row of relstorage is there for those who look it up.
# PostgreSQL 18 has no attcacheoff.
_ATTRIBUTE = """
CREATE OR REPLACE VIEW tidegate_sandbox.pg_attribute AS
SELECT attrelid, attname, atttypid, attstattarget, attlen, attnum, attndims, -1 AS attcacheoff, atttypmod, attbyval, attstorage,
       attalign, attnotnull, atthasdef, attisdropped, attislocal, attinhcount, attcollation, attacl, attoptions, attfdwoptions
FROM pg_catalog.pg_attribute
UNION ALL
SELECT attrelid, 'relstorage', atttypid, attstattarget, attlen, 1600, attndims, -1, atttypmod, attbyval, attstorage,
       attalign, attnotnull, atthasdef, attisdropped, attislocal, attinhcount, attcollation, attacl, attoptions, attfdwoptions
FROM pg_catalog.pg_attribute WHERE attrelid = 'pg_catalog.pg_class'::regclass AND attname = 'relkind'
"""

_INDEX = """
CREATE OR REPLACE VIEW tidegate_sandbox.pg_index AS
SELECT indexrelid, indrelid, indnatts, indisunique, indisprimary, indisexclusion, indimmediate, indisclustered, indisvalid,
       indcheckxmin, indisready, indislive, indisreplident, indkey, indcollation, indclass, indoption, indexprs, indpred
FROM pg_catalog.pg_index
"""

_PARTITION = """
CREATE OR REPLACE VIEW pg_catalog.pg_partition AS
SELECT partrelid AS oid, partrelid AS parrelid, partstrat AS parkind, 0::int2 AS parlevel, false AS paristemplate,
       partnatts AS parnatts, partattrs AS paratts, partclass AS parclass
FROM pg_catalog.pg_partitioned_table
"""

_PARTITION_RULE = """
CREATE OR REPLACE VIEW pg_catalog.pg_partition_rule AS
SELECT i.inhparent AS paroid, i.inhrelid AS parchildrelid, 0::oid AS parparentrule, c.relname AS parname,
       p.partdefid = i.inhrelid AS parisdefault
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
"""

_PARTITIONS = """
CREATE OR REPLACE VIEW pg_catalog.pg_partitions AS
SELECT n.nspname AS schemaname, t.relname AS tablename, m.nspname AS partitionschemaname, c.relname AS partitiontablename,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partitionboundary
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
"""


def statements(settings: dict[str, str], kernel94: bool) -> tuple[str, ...]:
    """SQL for :meth:`tidegate.sandbox.dialect.Dialect.bootstrap`. ``settings``: what SHOW says of the settings that upstream lacks
    or answers otherwise. ``kernel94``: Greenplum 6, whose catalog of partitions is its own."""
    rows = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in settings.items())
    hidden = ", ".join(literal(name) for name in sorted(NEW_SETTINGS)) if kernel94 else "''"
    common = (
        "SET allow_system_table_mods = on",
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC",
        'CREATE TABLE IF NOT EXISTS pg_catalog.gp_distribution_policy (localoid oid PRIMARY KEY, policytype "char" NOT NULL, '
        "numsegments int4 NOT NULL, distkey int2vector NOT NULL, distclass oidvector NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.storage (relation oid PRIMARY KEY, storage text NOT NULL, options text[] NOT NULL)",
        f"GRANT SELECT ON pg_catalog.gp_distribution_policy, {SCHEMA}.storage TO PUBLIC",
        f"CREATE OR REPLACE VIEW {SCHEMA}.settings AS SELECT * FROM (VALUES {rows}) AS s (name, setting)",
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.version() RETURNS text LANGUAGE sql STABLE AS "
        f"$body$ SELECT setting FROM {SCHEMA}.settings WHERE name = 'version' $body$",
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.current_setting(text) RETURNS text LANGUAGE sql STABLE AS $body$ "
        f"SELECT CASE WHEN EXISTS (SELECT 1 FROM {SCHEMA}.settings WHERE name = lower($1) AND name <> 'version') "
        f"THEN coalesce(pg_catalog.current_setting('{SCHEMA}.' || lower($1), true), "
        f"(SELECT setting FROM {SCHEMA}.settings WHERE name = lower($1))) ELSE pg_catalog.current_setting($1) END $body$",
        f"CREATE OR REPLACE VIEW {SCHEMA}.pg_settings AS SELECT name, setting FROM pg_catalog.pg_settings "
        f"WHERE name NOT IN ({hidden}) AND name NOT IN (SELECT name FROM {SCHEMA}.settings) "
        f"UNION ALL SELECT name, {SCHEMA}.current_setting(name) FROM {SCHEMA}.settings WHERE name <> 'version'",
        _DISTRIBUTE,
        _CHECK,
        _REDISTRIBUTE,
        _COPY_ROWS,
        _DISTRIBUTED_BY,
        _ON_DDL,
        _ON_DROP,
        f"DROP EVENT TRIGGER IF EXISTS {SCHEMA}_ddl",
        f"CREATE EVENT TRIGGER {SCHEMA}_ddl ON ddl_command_end EXECUTE FUNCTION {SCHEMA}.on_ddl()",
        f"DROP EVENT TRIGGER IF EXISTS {SCHEMA}_drop",
        f"CREATE EVENT TRIGGER {SCHEMA}_drop ON sql_drop EXECUTE FUNCTION {SCHEMA}.on_drop()",
    )
    views = (_CLASS, _ATTRIBUTE, _INDEX, _PARTITION, _PARTITION_RULE, _PARTITIONS) if kernel94 else ()
    grants: tuple[str, ...] = (f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO PUBLIC",)
    if kernel94:
        grants += ("GRANT SELECT ON pg_catalog.pg_partition, pg_catalog.pg_partition_rule, pg_catalog.pg_partitions TO PUBLIC",)
    return (*common, *views, *grants, "RESET allow_system_table_mods")
