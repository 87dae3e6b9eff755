"""The data of a job: its files, their formats and rows, and what is learnt of them."""
