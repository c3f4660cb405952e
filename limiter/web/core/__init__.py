"""What the integrations share: which limits a request has, the decision on all of them, and the response. No framework is imported here.

Read in this order: `rate_limit` and `declaration` (what an application declares), `admission` (which limits apply to a request, decided
together), `ruling` (the response to a denial, the headers, refunds), `marks` (limits of an endpoint), `handling` (a request from the
decision to the response), and `running` (how these steps run on either client).
"""
