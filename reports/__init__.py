"""What a run cost: results, energy, pages. Reads results and the chip's contract, nothing else."""
