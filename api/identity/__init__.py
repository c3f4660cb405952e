"""Identity: who sends a request, from its credential to the key and account behind it."""
