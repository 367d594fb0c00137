"""The commands: flags -> config -> one call of the library. Only these modules know flags."""
