-- What others have made that is of no use without tables, by its text.
SELECT group_concat(what, ', ') FROM (
	SELECT m.type || ' ' || m.name AS what FROM sqlite_master m JOIN sqlite_master t ON t.type = 'table' AND t.name IN (TABLES)
	WHERE m.type IN ('view', 'trigger') AND lower(m.sql) || ' ' GLOB '*[^a-z0-9_]' || lower(t.name) || '[^a-z0-9_]*'
	UNION SELECT 'foreign key of table ' || m.name FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
	ON m.type = 'table' AND lower(f."table") IN (TABLES)
	ORDER BY what
)
