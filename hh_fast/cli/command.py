"""Code shared by the commands: flags generated from config fields, help, one-line errors and exit codes.

Exit codes: 0 done; 1 usage (an invalid flag or argument); 2 data (files cannot be read or written); 3 check (an
exported file does not match the model); 4 training diverged; 5 another worker of the cluster failed; 130 and 143
interrupted by Ctrl-C and SIGTERM. Importing this module loads no TensorFlow.
"""

import dataclasses
import errno
import logging
import os
import signal
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

import hh_fast
from hh_fast.config import Config, option
from hh_fast.errors import HHFastError, UsageError
from hh_fast.io.quiet import enter_command
from hh_fast.io.signals import in_time
from hh_fast.io.text import printable

EXIT_CODES = (
    "Exit codes: 0 done, 1 usage, 2 data, 3 check failed, 4 diverged, 5 another worker failed, 130 and 143 interrupted."
)
REMEDIES = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some of your quota, or choose another folder",
    errno.EFBIG: "raise the file size limit (ulimit -f), or choose another folder",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file is in the place of a folder: move it, or choose another folder",
    errno.EEXIST: "a file of that name exists: move it, or choose another folder",
    errno.EISDIR: "a folder is in the place of a file: move it, or choose another path",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneralConfig(Config):
    """Settings of every command."""

    verbosity: int = option(0, "-1: warnings only; 0: also progress; 1: also TensorFlow's log, and tracebacks.")


DEFINE: dict[Any, Callable[..., Any]] = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define_flags(configs: Sequence[type[Config]]) -> flags.FlagValues:
    """A new set of flags, one for each field of `configs`; a field that several of them share is one flag."""
    flag_values = flags.FlagValues()
    for config in configs:
        section = (config.__doc__ or "").split(".")[0]
        hints = typing.get_type_hints(config)
        for field in dataclasses.fields(config):  # type: ignore[arg-type]
            if field.name in flag_values:
                continue
            kinds = [kind for kind in typing.get_args(hints[field.name]) if kind is not type(None)]
            define: Callable[..., Any] = flags.DEFINE_string
            default: Any = field.default
            if typing.get_origin(hints[field.name]) is tuple:
                define, default = flags.DEFINE_list, list(map(str, default))
            elif len(kinds) < 2:
                define = DEFINE.get(kinds[0] if kinds else hints[field.name], define)
            choices = f" One of {', '.join(field.metadata['choices'])}." if field.metadata["choices"] else ""
            text = field.metadata["help"] + choices
            define(field.name, default, text, flag_values=flag_values, module_name=section)
            flag_values[field.name].boolean |= set(kinds) == {str, int}  # may be given without a value
    return flag_values


def parse(
    configs: Sequence[type[Config]], arguments: Sequence[str], as_given: Sequence[type[Config]] = ()
) -> tuple[list[Any], list[str]]:
    """The configs set by command line arguments, and the positional arguments.

    A config in `as_given` is returned as a dict of only those fields that the arguments or a flagfile set.
    The flags in `--flagfile=F` take its place among the arguments: later ones override them.
    """
    flag_values = define_flags(configs)
    try:
        free = flag_values(["", *arguments])[1:]
    except flags.Error as e:
        taken_for_flag = [word for word in arguments if word.startswith("-") and Path(word).exists()]
        remedy = f"for the file of that name write ./{taken_for_flag[0]}" if taken_for_flag else "see --help"
        raise UsageError(f"{' '.join(str(e).split())}; {remedy}") from e
    made = []
    for config in configs:
        values = {
            field.name: flag_values[field.name].value
            for field in dataclasses.fields(config)  # type: ignore[arg-type]
            if flag_values[field.name].present
        }
        made.append(values if config in as_given else config(**values))
    return made, free


def help_text(synopsis: str, configs: Sequence[type[Config]]) -> str:
    return f"{synopsis}\n{define_flags(configs).get_help()}\n\n{EXIT_CODES}"


def _set_up_logging(verbosity: int) -> None:
    if verbosity < 1:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logger = logging.getLogger("hh_fast")
    logger.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(max(-1, min(verbosity, 1)), logging.DEBUG))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logger.propagate = False


def _outcome(error: BaseException) -> tuple[str, int]:
    """The message of a user-facing error, and its exit code."""
    if isinstance(error, HHFastError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if error.filename is not None else ""
        remedy = REMEDIES.get(error.errno or 0, "check the file or folder")
        return f"{error.strerror or error}{where}; {remedy}", 2
    if isinstance(error, MemoryError):
        return "out of memory; use --cache=disk or none, smaller images or a smaller batch", 2
    return "interrupted", 128 + signal.SIGINT


def run(
    body: Callable[..., int | None],
    arguments: Sequence[str] | None = None,
    *,
    name: str,
    synopsis: str,
    configs: Sequence[type[Config]],
    as_given: Sequence[type[Config]] = (),
    takes_arguments: bool = False,
) -> int:
    """Parses `arguments` (default: the command line), calls `body(*configs)`, and returns the exit code.

    With `takes_arguments`, `body` also gets the list of positional arguments, last. `as_given`: see `parse`.
    """
    configs = (*configs, GeneralConfig)
    words = list(sys.argv[1:] if arguments is None else arguments)
    own_words = words[: words.index("--")] if "--" in words else words
    show_traceback = False
    try:
        with in_time(name):
            if {"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(own_words):
                print(help_text(synopsis, configs), flush=True)
                return 0
            if "--version" in own_words:
                print(f"hh_fast {hh_fast.__version__}", flush=True)
                return 0
            made, free = parse(configs, words, as_given)
            verbosity = made.pop().verbosity
            show_traceback = verbosity > 0
            _set_up_logging(verbosity)
            enter_command()
            if takes_arguments:
                made.append(free)
            elif free:
                raise UsageError(f"this command takes flags only. Received: {' '.join(free)}; see --help")
            code = body(*made) or 0
            sys.stdout.flush()  # raises BrokenPipeError here if the reader is gone
            return code
    except BrokenPipeError:
        # The reader of our output, such as `head`, is gone; without this Python complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (HHFastError, OSError, MemoryError, KeyboardInterrupt) as e:
        if show_traceback:
            raise
        text, code = _outcome(e)
        print(f"{name}: {printable(text)}", file=sys.stderr)
        return code
