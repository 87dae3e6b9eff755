"""People: accounts, sessions, tokens, one-time links, wrong sign-ins and the audit log."""
