"""The database: its address, tables, migrations, and its two backends."""
