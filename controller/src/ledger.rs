//! The ledger's shell: a dedicated writer thread that owns the aggregate, its log and its snapshots.
