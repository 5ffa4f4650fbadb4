"""Whether what runs in this container is healthy: a master answers its probe, everything else is a process that runs.

`health.py ready` asks whether a master may be given work. The address is that of MUSTER_PROBE, of which the port counts.
"""

import os
import re
import sys
import urllib.error
import urllib.request

question = "readyz" if sys.argv[1:] == ["ready"] else "livez"
with open("/proc/1/cmdline", "rb") as file:
    words = file.read().split(b"\0")
if b"master" not in words and question == "livez":
    sys.exit(0)
port = re.search(r"\d+", os.environ["MUSTER_PROBE"])[0]
for host in ("127.0.0.1", "[::1]"):
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/{question}", timeout=4) as answer:
            print(answer.read().decode().strip())
            sys.exit(0)
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode().strip())
    except OSError as error:
        said = error
sys.exit(f"no answer of the probe: {said}")
