"""A seeded attack on a running sidecar: 100,000 requests that a client, a gateway or an attacker could send, and what must come back.

Read in this order:

    expected    which statuses each kind of request may get: the only place that changes when the sidecar's behavior does
    scene       the configuration of the sidecar under attack, with its keys
    heads       paths, credentials, forward headers and other lines: hostile in meaning, well-formed as HTTP
    v1_calls    calls of `/v1`, by callers with and without permission
    json_bodies JSON for `/v1` and the admin API
    framing     bodies, trailers, and heads that are not well-formed HTTP
    volleys     the attack: connections with several requests each, how their bytes are split, and how they end
    replies     parses the sidecar's bytes strictly, and checks each reply
    sender      fires volleys over many connections
    recorder    the upstream of a proxy: accepts only well-formed requests, and counts them by key
    aftermath   memory, descriptors, log and Redis after the attack
"""
