"""The learning engines: lookup, backward and vector kernels, the timeline of their queues, and a step of training."""
