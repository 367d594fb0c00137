"""`bin/data_service`: a dispatcher or a worker of a tf.data service, which decodes images for bin/train --data_service."""

import functools
import logging
import time
from typing import Any

from hh_fast.cli import command
from hh_fast.config import DataServiceConfig
from hh_fast.distributed.handshake import require_service

logger = logging.getLogger(__name__)

SYNOPSIS = """\
bin/data_service [flags]: one dispatcher, and a worker on each machine that shall decode, until they are stopped.
There is no password: use it in a network that you trust. Workers must see the images under the paths of bin/train."""

DISPATCHER_WAIT_S = 60
# A worker that is silent this long counts as lost. TensorFlow's defaults are a minute, and a heartbeat every half.
HEARTBEAT_MS, WORKER_TIMEOUT_MS = 1_000, 10_000


def _start(config: DataServiceConfig) -> tuple[Any, str]:
    """The running server and its address."""
    from tensorflow.data.experimental import service

    if config.role == "dispatcher":
        server = service.DispatchServer(service.DispatcherConfig(port=config.port, worker_timeout_ms=WORKER_TIMEOUT_MS))
        return server, f"{config.host}:{server.target.rpartition(':')[2]}"
    address = f"{config.host}:%port%" if config.port == 0 else f"{config.host}:{config.port}"
    server = service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=config.dispatcher,
            worker_address=address,
            port=config.port,
            heartbeat_interval_ms=HEARTBEAT_MS,
        )
    )
    return server, f"{config.host}:{config.port or 'a free port'}"


def body(config: DataServiceConfig) -> None:
    if config.dispatcher is not None:
        require_service(config.dispatcher, DISPATCHER_WAIT_S)
    from hh_fast.io.quiet import import_tensorflow  # not for --help

    import_tensorflow()
    server, address = _start(config)
    logger.info("tf.data service %s at grpc://%s; Ctrl-C ends it", config.role, address)
    while server is not None:  # its join() would not let signals through
        time.sleep(3600)


main = functools.partial(command.run, body, name="data_service", synopsis=SYNOPSIS, configs=(DataServiceConfig,))
