"""Judges from outside whether limits were held: from the requests that a client sent, and from nothing else.

`requests.py` says what is known of a request. `windows.py`, `buckets.py` and `quotas.py` each judge one kind of limit, `ledger.py` all
limits of a key, and `verdict.py` the whole test. Nothing here does I/O or knows Locust.

A request was decided at an unknown moment between sending it and receiving its response. Every check allows for that, so a limiter is
blamed only for what no order of events can explain:

- A limit was exceeded only if more requests than it allows were both sent and answered within one window.
- A denial was not owed only if too few other requests can have been decided before it.
- A number in a header was wrong only if it is wrong whenever the requests in flight were decided.

Each check also allows for a server's clock that runs at a slightly different rate than the client's.
"""
