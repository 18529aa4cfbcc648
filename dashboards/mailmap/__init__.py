"""The fleet on a map that is one file: made anew at each call, and whole without a network."""
