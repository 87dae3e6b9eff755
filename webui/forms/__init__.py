"""Forms: their controls, labels and choices, and forms of one text."""
