"""Models of the API's requests and answers, a module for each resource.

Fields carry their own documentation: it is that of the document at /api/v1/openapi.json.
"""
