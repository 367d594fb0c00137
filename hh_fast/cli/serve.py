"""`bin/serve`: serves the exported model as a web page for phones."""

import functools

from hh_fast.cli import command
from hh_fast.config import ServeConfig

SYNOPSIS = """\
bin/serve --export_dir=BUNDLE [flags]: serves a web page that runs the bundle's model on the phone, on camera images or
photos, and prints its address and a QR code. With --site_dir=FOLDER it writes the page as a static site instead."""


def body(config: ServeConfig) -> None:
    from hh_fast.serve.run import serve

    serve(config, functools.partial(print, flush=True))


main = functools.partial(command.run, body, name="serve", synopsis=SYNOPSIS, configs=(ServeConfig,))
