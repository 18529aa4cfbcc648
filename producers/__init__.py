"""One module a stream: a seeded simulation, adapters for recorded data, and a shared command line."""
