"""Read by each interpreter that has this folder on its path: a code server that `dg dev` starts has
the libraries loaded and forks its runs, as those of `support.code_server`."""

import sys

if "grpc" in sys.orig_argv:
    from deploysim_assets_tests import warm

    warm.load()
    warm.fork_from_here()
