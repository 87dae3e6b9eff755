"""Backups: consistent copies of the database and of uploads, checked, and put back.

A backup is a folder:

    manifest.json       what is in it: rows per table, hashes of jobs' results and of the files
    database.sqlite     SQLite: a whole database file
    database.dump       PostgreSQL: an archive of pg_dump in the custom format
    uploads/            the uploaded files that jobs refer to
"""
