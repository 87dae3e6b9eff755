"""The database: tables, migrations, store (writes), queries (reads) and console.

Only this package uses SQLAlchemy.
"""
