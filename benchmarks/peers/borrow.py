"""Run a module of the benchmark's environment in the service's own, behind its packages.

So another server can serve the service with exactly the libraries that it has in production.
"""

import os
import runpy
import sys

if __name__ == "__main__":
    sys.path.append(os.environ["BENCH_PACKAGES"])
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
