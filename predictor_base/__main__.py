"""`python -m predictor_base`: serve the predictor of the working directory."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from predictor_base.errors import StartFailure
from predictor_base.settings import Settings
from predictor_base.telemetry import log


def main(arguments: list[str] | None = None) -> int:
    """Read the settings, serve, and return the exit code."""
    parser = argparse.ArgumentParser(prog="predictor_base", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings file; default $PREDICTOR_CONFIG_FILE")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a pod's other end is the gateway
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--grpc-port", type=int, help="port for gRPC; needs grpcio")
    options = parser.parse_args(arguments)
    try:
        settings = (
            Settings.from_file(options.config)
            if options.config
            else Settings.from_environ(os.environ)
        )
    except StartFailure as error:
        print(error, file=sys.stderr)
        return 1
    log.configure(settings)
    from predictor_base.process.server import serve

    grpc = f"{options.host}:{options.grpc_port}" if options.grpc_port else ""
    return serve(settings, host=options.host, port=options.port, grpc=grpc)


if __name__ == "__main__":
    sys.exit(main())
