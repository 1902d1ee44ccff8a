//! The mapping's shell: one task that owns the index and the VMs' subscriptions.
