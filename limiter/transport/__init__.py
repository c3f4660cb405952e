"""Everything that performs I/O: connections to Redis, one call at a time, and the batching of many callers into one call."""
