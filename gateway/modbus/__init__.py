"""A strict Modbus master: what it cannot prove to be the answer, it does not accept."""
