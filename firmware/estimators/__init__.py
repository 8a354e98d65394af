"""What the cells are worth: figures with intervals, from what the chip measures."""
