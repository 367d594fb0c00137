"""`bin/serve`: the exported model as a page for phones."""

import functools

from hh_fast.cli import command
from hh_fast.config import ServeConfig

SYNOPSIS = """\
bin/serve --export_dir=BUNDLE [flags]: hands out a page that runs the bundle's model on the phone itself, on its camera or on
photos; prints an address and a QR code to scan. With --site_dir=FOLDER it writes the page as a static site, and ends."""


def body(config: ServeConfig) -> None:
    from hh_fast.serve.run import serve

    serve(config, functools.partial(print, flush=True))


main = functools.partial(command.run, body, name="serve", synopsis=SYNOPSIS, configs=(ServeConfig,))
