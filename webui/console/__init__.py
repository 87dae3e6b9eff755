"""The SQL console's page: what its address asks for, the rows, and the chart of a result."""
