"""The contract of the JSON API: strict reading, problems, answers from models, the document."""
