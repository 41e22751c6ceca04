"""Run one stand-in: `python -m datalake.sandbox stripe --port 0 --seed 1 --scale 1`. It prints its address as one JSON line."""

from __future__ import annotations

import argparse
import importlib
import time

from datalake.sandbox.base import serve
from datalake.sources import CONNECTED


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m datalake.sandbox", description="A stand-in for a source system.")
    parser.add_argument("source", choices=CONNECTED)
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, scale and clock give the same data")
    parser.add_argument("--scale", type=float, default=1.0, help="how much business there is")
    parser.add_argument("--now", type=int, default=int(time.time()), help="where its clock starts, epoch seconds")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to every answer")
    parser.add_argument("--no-limits", action="store_true", help="do not enforce the system's rate limits")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    options = parser.parse_args()
    module = importlib.import_module(f"datalake.sandbox.{options.source}")
    stand_in = module.build(seed=options.seed, scale=options.scale, now=options.now, limits=not options.no_limits)
    serve(options.source, stand_in, port=options.port, latency=options.latency, with_parent=options.with_parent)


if __name__ == "__main__":
    main()
