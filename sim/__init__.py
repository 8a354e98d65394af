"""The world on a desk: cells, packs, chips, buses and time."""
