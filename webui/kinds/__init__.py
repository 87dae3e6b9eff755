"""The pages and forms of each kind of job."""
