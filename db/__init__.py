"""The database: tables, migrations, the queue, results, published views and the SQL console.

Only this package uses SQLAlchemy.
"""
