"""A client of a Headwise server: submit jobs from a notebook, wait, and get results as data frames.

It speaks to the JSON API with httpx2, and needs neither torch nor the server's code.
"""
