"""A kind of job that is added from outside.

It has what docs/explanation/architecture.md, "Adding a kind", asks for.
In the product its modules would be `jobs/kinds/toy.py`, `db/kinds/toy.py`, `workers/kinds/toy.py`
and `webui/kinds/toy.py`, its templates would be among the others, and "toy" would be one of
`jobs.kinds.NAMES`.
"""
