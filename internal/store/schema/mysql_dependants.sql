-- What others have made that keeps tables from being dropped, or that is dropped with them. A
-- view reads what has the table's name, which is a view from then on; but nothing has the name
-- of the table of transactions.
SELECT GROUP_CONCAT(what ORDER BY what SEPARATOR ', ') FROM (
	SELECT CONCAT('trigger ', trigger_name) AS what FROM information_schema.triggers
	WHERE event_object_schema = ? AND event_object_table IN (TABLES)
	UNION SELECT CONCAT('foreign key ', constraint_name, ' of table ', table_name) FROM information_schema.key_column_usage
	WHERE referenced_table_schema = ? AND referenced_table_name IN (TABLES)
	UNION SELECT CONCAT('view ', table_name) FROM information_schema.views
	WHERE table_schema = ? AND view_definition LIKE '%`journal_transaction`%'
) all_of_them
