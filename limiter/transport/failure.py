"""What a caller is told when Redis does not decide: what the policies of the decision say."""

from limiter.decision import Decision
from limiter.errors import BackendError
from limiter.protocol.group import Group


def undecided(group: Group, error: BackendError) -> Decision:
    """A degraded decision by the strictest of the policies, or the error where one of them names no failure mode."""
    modes = {charge.policy.failure for charge in group.charges}
    if "closed" in modes:
        return Decision(False, group.charges, degraded=f"{error}; refused, as the policy fails closed")
    if None in modes:
        raise error
    return Decision(True, group.charges, degraded=f"{error}; admitted, as the policy fails open")
