"""What a person sees first: a sample to try, and what to do next."""
