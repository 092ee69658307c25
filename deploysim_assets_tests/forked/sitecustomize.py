"""Read by each interpreter that has this folder on its path: a code server that `dg dev` starts is
one that is forked from a process that has the libraries, as those of `support.code_server`."""

import os
import signal
import sys
from pathlib import Path

if "grpc" in sys.orig_argv:
    from deploysim_assets_tests import warm

    arguments = sys.orig_argv[sys.orig_argv.index("api") :]
    process = warm.start(
        [sys.executable, "-c", warm.CODE_SERVER, *arguments],
        env=os.environ,
        cwd=Path.cwd(),
        stdout=sys.stdout,
        stderr=sys.stderr,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda of, _: os.killpg(process.pid, of))
    os._exit(process.wait())
