"""The parts of an evaluation: verifying fields, the pass over the data, records, files."""
