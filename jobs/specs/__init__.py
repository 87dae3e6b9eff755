"""What a user asks for, and its validation."""
