"""Who the caller is: tokens, and what they stand for."""
