"""What sits in the membrane: the base classes of channels and pools, and ions."""
