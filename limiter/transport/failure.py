"""The decision when Redis does not decide: the failure modes of its policies make it."""

from limiter.decision import Decision
from limiter.errors import BackendError, OutOfDescriptors
from limiter.protocol.group import Group


def undecided(group: Group, error: BackendError) -> Decision:
    """Return a degraded decision by the strictest failure mode; raise the error if a policy has none."""
    modes = {charge.policy.failure for charge in group.charges}
    if "closed" in modes:
        return Decision(False, group.charges, degraded=f"{error}; refused, as the policy fails closed")
    if None in modes:
        raise error
    if isinstance(error, OutOfDescriptors):
        return Decision(False, group.charges, degraded=f"{error}; refused, as Redis may be available to others")
    return Decision(True, group.charges, degraded=f"{error}; admitted, as the policy fails open")
