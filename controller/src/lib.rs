//! The controller's shells: HTTP, sources, ledger log.
