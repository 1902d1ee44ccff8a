//! What the hub is told, says, and counts.

/// Bounds. The defaults take about 200 MiB when all are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// VMs, over all gateways.
    pub vms: usize,
    /// VMs of one gateway.
    pub vms_per_gateway: usize,
    /// Keys of one VM.
    pub keys_per_vm: usize,
    /// Distinct keys of one gateway.
    pub keys_per_gateway: usize,
    /// Distinct pairs of gateway and key.
    pub keys: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            vms: 16_384,
            vms_per_gateway: 4_096,
            keys_per_vm: 8_192,
            keys_per_gateway: 65_536,
            keys: 262_144,
        }
    }
}

/// Names a call that waits for its answer; the caller chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which call.
    pub ticket: Ticket,
    /// An encoded `MappingAnswer`.
    pub answer: Result<Vec<u8>, Refused>,
}

/// Why a VM is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`HubLimits`] is reached.
    #[error("too many worker VMs")]
    TooManyVms,
}

/// What the hub did, growing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounters {
    /// Answers that carried entries.
    pub answers: u64,
    /// Entries in them.
    pub entries: u64,
    /// Answers said again because they were not confirmed.
    pub repeated: u64,
    /// VMs refused.
    pub refused_vms: u64,
    /// Subscriptions refused.
    pub refused_keys: u64,
}

/// How much the hub holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// VMs.
    pub vms: usize,
    /// Distinct pairs of gateway and key.
    pub keys: usize,
    /// Subscriptions: keys, over all VMs.
    pub subscriptions: usize,
    /// Calls held.
    pub held: usize,
}
