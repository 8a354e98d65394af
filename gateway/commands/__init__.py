"""The subcommands of `echelon`, one module each."""
