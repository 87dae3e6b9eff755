"""People, their permissions, and their pages: sign-in, accounts, the audit log."""
