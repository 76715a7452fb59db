-- What others have made that keeps tables from being dropped, or that is dropped with them.
SELECT string_agg(what, ', ' ORDER BY what) FROM (
	SELECT DISTINCT replace(pg_describe_object(d.classid, d.objid, 0), 'rule _RETURN on ', '') AS what
	FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_depend d
	ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid OR d.refclassid = 'pg_type'::regclass AND d.refobjid = t.reltype
	WHERE n.nspname = ? AND t.relname IN (TABLES) AND (d.classid IN ('pg_trigger'::regclass, 'pg_rewrite'::regclass) OR d.deptype = 'n' AND NOT EXISTS (
		SELECT 1 FROM pg_depend own WHERE own.classid = d.classid AND own.objid = d.objid AND own.refobjid = t.oid AND own.deptype IN ('a', 'i')
	))
) all_of_them
