"""What several tests stand on: real servers, and what to do to them."""
