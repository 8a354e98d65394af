"""A Modbus server, written from the specifications of the Modbus Organization."""
