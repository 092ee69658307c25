"""Walks over manifests and ledger: audit, trace, bundle, and OpenLineage events."""
