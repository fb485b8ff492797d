"""A page to drop photos on, and the same by HTTP (/openapi.json); nothing leaves this machine.

    python app.py
    python app.py --port 8080 --max-megabytes 300
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

from utils.command import AT_ONCE, command, parser_of, whole

_LIMIT = whole(1, 1_000_000)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address to listen at; default: this machine alone")
    where.add_argument("--port", type=whole(0, 65535), default=8000, help="default 8000; 0 takes a free one")
    where.add_argument("--name", action="append", default=[], metavar="HOST",
                       help="a name by which browsers reach this machine, such as scans.example.org; repeatable")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-megabytes", type=_LIMIT, default=100, metavar="MB", help="of a file; default 100")
    limits.add_argument("--max-megapixels", type=_LIMIT, default=100, metavar="MP",
                        help="of a photo, or of a page; default 100")
    limits.add_argument("--max-pages", type=_LIMIT, default=500, metavar="N", help="of a PDF or TIFF; default 500")
    limits.add_argument("--keep-minutes", type=_LIMIT, default=60, metavar="MIN",
                        help="after which photos that nobody asks for are removed; default 60")
    engine = parser.add_argument_group("engine, as in predict.py")
    engine.add_argument("--weights", help="file of weights; default: model.pdparams here, then in test_code/")
    engine.add_argument("--device", default="auto", help="auto (a GPU if it works), cpu, gpu or gpu:N")
    engine.add_argument("--threads", type=AT_ONCE, help="threads of the CPU; default: OMP_NUM_THREADS, or all")
    return parser.parse_args(arguments)


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level="WARNING", format="%(levelname)s: %(message)s")
    try:
        import uvicorn

        from web.api import create_app
        from web.jobs import Jobs
        from web.photo import Limits
    except ModuleNotFoundError as error:
        raise RuntimeError(f"the page needs {error.name}; install it: pip install -r requirements-web.txt") from error
    from inference.restorer import Restorer

    host, numbered = options.host, ":" in options.host
    try:
        listener = socket.create_server((host, options.port), family=socket.AF_INET6 if numbered else socket.AF_INET)
    except OSError as error:
        reason = (error.strerror or str(error)).split(" (while")[0]
        raise ValueError(f"{host}, port {options.port}: {reason}; name another with --host or --port") from error
    restorer = Restorer(options.weights, options.device, threads=options.threads)
    limits = Limits(options.max_megabytes * 1_000_000, options.max_megapixels * 1_000_000, options.max_pages,
                    seconds=options.keep_minutes * 60.0)  # fmt: skip
    engine, address = restorer.describe(), f"{f'[{host}]' if numbered else host}:{listener.getsockname()[1]}"
    with listener, closing(Jobs(restorer, limits)) as jobs:
        print(engine)
        if host not in ("127.0.0.1", "::1", "localhost"):
            told = f"warning: whoever reaches http://{address}/ can use it, without a password and unencrypted"
            print(told, file=sys.stderr)
        print(f"open http://{address}/ (ctrl-C ends it and removes every photo that it holds)", flush=True)
        app = create_app(jobs, engine, [*options.name, socket.gethostname()])
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False,
                                timeout_graceful_shutdown=3)  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
