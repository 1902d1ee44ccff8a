//! What an explanation is made from. Gathered by the shell, so that judging it is a plain function.

use gaugeway_index::{
    WorkerFacts,
    explain::{
        AddressFacts, CandidateFacts, EndpointFacts, PodFacts, RouteUse, Selected, ServiceFacts,
    },
};
use gaugeway_operator::deploy::Deployment;
use gaugeway_wire::Nanos;

/// A Service.
#[derive(Clone, Debug)]
pub(super) struct ServiceCase {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `None` when there is none of that name.
    pub(super) facts: Option<ServiceFacts>,
    pub(super) uses: Vec<RouteUse>,
    pub(super) endpoints: Vec<EndpointFacts>,
    /// Gateways whose routes reach it.
    pub(super) gateways: Vec<(GatewayCase, Selected)>,
    pub(super) counts: CountsCase,
    /// The only gateway that was asked about; all if `None`.
    pub(super) only: Option<String>,
}

/// A gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct GatewayCase {
    pub(super) name: String,
    /// Whether the cluster has it; `None` when that cannot be known.
    pub(super) exists: Option<bool>,
    /// Its policies, the strongest first; `None` when the default holds.
    pub(super) policies: Option<Vec<String>>,
    /// Policies that want to be attached to it and cannot be used: each with why.
    pub(super) unusable: Vec<(String, String)>,
    /// How it came to its filter.
    pub(super) deployment: Deployment,
    pub(super) workers: WorkerFacts,
    pub(super) report: Option<ReportCase>,
}

/// A gateway's last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportCase {
    /// Since the end of what it told of.
    pub(super) age: Nanos,
    /// It should have reported since.
    pub(super) overdue: bool,
}

/// What is counted of a Service.
#[derive(Clone, Debug, Default)]
pub(super) struct CountsCase {
    /// Requests in the last minute, or why that is not known.
    pub(super) minute: Option<Result<u64, String>>,
    pub(super) series: usize,
    /// Requests in all of them.
    pub(super) requests: u64,
    /// No further series can be made.
    pub(super) full: bool,
    /// Policies that decide for it and have as many series as they may.
    pub(super) refusing: Vec<String>,
}

/// A Pod or a workload.
#[derive(Clone, Debug)]
pub(super) struct PodCase {
    /// `Pod`, `Deployment`, …
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) facts: PodFacts,
    pub(super) services: Vec<ServiceCase>,
}

/// An address.
#[derive(Clone, Debug)]
pub(super) struct AddressCase {
    pub(super) address: String,
    pub(super) facts: AddressFacts,
    /// What the workers of each gateway are told of it, and how many of them have seen it.
    pub(super) told: Vec<(GatewayCase, Vec<CandidateFacts>)>,
    pub(super) services: Vec<ServiceCase>,
}

/// A gateway with all that it reaches.
#[derive(Clone, Debug, Default)]
pub(super) struct ReachCase {
    pub(super) gateway: GatewayCase,
    pub(super) routes: Vec<String>,
    /// Namespace, name, and what its policy says of it.
    pub(super) services: Vec<(String, String, Selected)>,
}
