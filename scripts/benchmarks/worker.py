"""The child's side of `workers`: `python -m benchmarks.worker SIMULATOR CORES`."""

import importlib
import json
import os
import resource
import sys
import time
import traceback
from typing import Any

import numpy as np


def serve(simulator: str) -> None:
    """Answer requests until standard input ends; everything printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(f"benchmarks.run_{simulator}")
    cases: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = respond(module, cases, request)
        except Exception as error:  # the parent decides what an error means
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:600]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def respond(module: Any, cases: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Do what one request asks."""
    name = request["name"]
    match request["do"]:
        case "prepare":
            start = time.perf_counter()
            cases[name] = module.prepare(request["case"])
            return {**cases[name].info, "prepare_seconds": time.perf_counter() - start}
        case "run":
            start = time.perf_counter()
            cases[name].run()
            return {"seconds": time.perf_counter() - start}
        case "trace":
            t, v = cases[name].trace()
            np.savez(request["path"], t=np.asarray(t, float), v=np.asarray(v, float))
            return {}
        case "peak":
            return {"bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
        case "forget":
            cases.pop(name, None)
            return {}
    raise ValueError(f"unknown request {request['do']!r}")


if __name__ == "__main__":
    os.sched_setaffinity(0, [int(core) for core in sys.argv[2].split(",")])
    serve(sys.argv[1])
