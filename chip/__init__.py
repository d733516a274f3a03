"""What the chip is: configuration, arithmetic, packets, programs and events. Imports nothing else of the project."""
