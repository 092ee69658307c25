"""A seeded synthetic world with known rates, for the demo, the simulations and the tests."""
