"""Authentication: tokens, logins and the caller's scope."""
