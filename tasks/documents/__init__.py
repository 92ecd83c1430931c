"""Documents: parsing, indexing, leases, reconciliation, and the embedding models of an index worker."""
