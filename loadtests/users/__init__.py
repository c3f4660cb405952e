"""Locust users that send requests with API keys, and collect what the judgement needs.

`options.py` and `plan.py` say what to send and what to judge by, `shapes.py` when. `caller.py` sends, and `recorder.py` records.
`session.py` connects these with Locust: one process, or many workers, whose records `collected.py` puts together.
"""
