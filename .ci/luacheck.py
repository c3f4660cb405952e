"""luacheck over the Lua files as they are."""

import subprocess
import sys

sys.exit(subprocess.run(["luacheck", "--quiet", "lua"], check=False).returncode)
