"""The database: its address, tables, migrations, and the two kinds it may be."""
