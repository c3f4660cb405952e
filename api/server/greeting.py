"""What `limiter serve` prints for the person who started it. It is not a log, but what is not a terminal may well store it like one."""

import os
import shlex

from limiter.api.control.admin_token import AdminToken
from limiter.api.server.sample import Sample

_STDOUT = 1


def greet(trial: Sample | None, front: str, admin: str, token: AdminToken) -> None:
    """Shows secrets on a terminal only; otherwise it names the files that hold them."""
    for_a_person = os.isatty(_STDOUT)
    lines = []
    if token.kept_in is not None:
        shown = f"{token.text}  (kept in {token.kept_in})" if for_a_person else f"in the file {token.kept_in}"
        lines.append(f"Admin token: {shown}")
    elif token.is_own and for_a_person:
        lines.append(f"Admin token of this run: {token.text}")
    if trial:
        key = trial.key if for_a_person else f"$(cat {shlex.quote(str(trial.key_file))})"
        lines.append(f"Serving a sample configuration, because --config is not set: {trial.config}  (changes to it apply at once)")
        lines.append(f'Try it:  curl -i -H "Authorization: Bearer {key}" {front}/authorize')
    lines.append(f"Health:  curl {admin}/readyz")
    lines.append(f"API documentation, for browsers: {admin}/docs")
    print(*lines, sep="\n", flush=True)  # noqa: T201 - for a person, not a log
