"""Reading files of changes: Debezium, Maxwell, Canal and AWS DMS."""
