"""From a trained graph to a chip program: import, lower, fold, quantise, partition, place, route, emit."""
