"""What every measuring process has imported, without the lines that TensorFlow prints then. GPUs stay untouched."""

from hh_fast.io.quiet import enter_command, native_stderr_logged

enter_command()
with native_stderr_logged():
    import benchmarks.race.inputs
    import benchmarks.race.training  # noqa: F401
