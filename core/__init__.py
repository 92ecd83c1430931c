"""The parts that every process shares: settings, errors, messages, events, the catalog and the blobs."""
