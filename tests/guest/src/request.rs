//! Scripts of requests: what the gateway and the upstream do, and what a correct filter counts for it.

mod expected;

use std::rc::Rc;

use gaugeway_wire::{
    outcome::{CodeClass, Outcome, RequestClass},
    units::Nanos,
};

pub use expected::{Counted, Expected};

/// One request through the gateway. Cheap to clone through [`Rc`].
#[derive(Clone, Debug)]
pub struct Request {
    /// The filter configuration (root) that serves it.
    pub plugin: String,
    /// Envoy cluster, or Kong service.
    pub cluster: String,
    /// Route.
    pub route: String,
    /// The upstreams tried, the last one answered. Empty: no address was ever chosen.
    pub tries: Vec<Try>,
    /// Time spent in the gateway before the filter sees the request.
    pub before: Nanos,
    /// From the request headers to the response headers, or to the end where none come.
    pub wait: Nanos,
    /// From the response headers to the end.
    pub stream: Nanos,
    /// How it ends.
    pub ending: Ending,
    /// Nothing follows the response headers.
    pub headers_only: bool,
}

/// One upstream tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// As the host names it.
    pub address: String,
    /// Status it answered (Kong: or the status that stands for its failure).
    pub status: u16,
    /// Until its response headers came. `None`: they never did, or, at the last one, when the request's did.
    pub header_time: Option<Nanos>,
    /// Whether there was a connection.
    pub connected: bool,
    /// How long it took, where another try followed.
    pub waited: Nanos,
}

impl Try {
    /// Answered after this time.
    #[must_use]
    pub fn answered(address: &str, status: u16, after: Nanos) -> Self {
        Self {
            header_time: Some(after),
            ..Self::failed(address, status, true, after)
        }
    }

    /// No connection.
    #[must_use]
    pub fn refused(address: &str) -> Self {
        Self::failed(address, 502, false, Nanos(0))
    }

    /// Closed by the upstream before it answered.
    #[must_use]
    pub fn reset(address: &str, after: Nanos) -> Self {
        Self::failed(address, 502, true, after)
    }

    /// No answer in time.
    #[must_use]
    pub fn timed_out(address: &str, after: Nanos) -> Self {
        Self::failed(address, 504, true, after)
    }

    fn failed(address: &str, status: u16, connected: bool, waited: Nanos) -> Self {
        Self {
            address: address.to_owned(),
            status,
            header_time: None,
            connected,
            waited,
        }
    }
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a whole response.
    Response(u16),
    /// The upstream cut the response after its headers.
    CutByUpstream(u16),
    /// The client left after the headers.
    CutByClient(u16),
    /// No response headers in time.
    Timeout,
    /// The upstream closed before response headers.
    Reset,
    /// No connection.
    ConnectFailure,
    /// The gateway's limits refused it.
    Overflow,
    /// No usable endpoint.
    NoEndpoint,
    /// The client left before response headers.
    Cancelled,
    /// Answered by the gateway after the filter had seen the request: direct response, redirect, denial.
    Local(u16),
    /// Denied by a filter before ours.
    DeniedBefore(u16),
}

impl Request {
    /// A request to `address` through a cluster `default/app/80`, answered with 200 after 50 ms.
    #[must_use]
    pub fn to(address: &str) -> Self {
        Self {
            plugin: "main".to_owned(),
            cluster: "default/app/80".to_owned(),
            route: "route-1".to_owned(),
            tries: vec![Try {
                status: 200,
                ..Try::reset(address, Nanos(0))
            }],
            before: Nanos(0),
            wait: Nanos::from_millis(50),
            stream: Nanos::from_millis(1),
            ending: Ending::Response(200),
            headers_only: false,
        }
    }

    /// A request that never gets an address.
    #[must_use]
    pub fn without_address(cluster: &str, ending: Ending) -> Self {
        Self {
            tries: Vec::new(),
            ..Self::to("").cluster(cluster).ending(ending)
        }
    }

    /// Answered with another code.
    #[must_use]
    pub fn code(self, code: u16) -> Self {
        self.ending(Ending::Response(code))
    }

    /// Ends otherwise.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        if let (Some(last), Some(code)) = (self.tries.last_mut(), ending.upstream_code()) {
            last.status = code;
        }
        self
    }

    /// Waits this long for the response headers (or the end).
    #[must_use]
    pub fn wait(mut self, wait: Nanos) -> Self {
        self.wait = wait;
        self
    }

    /// Streams its body this long.
    #[must_use]
    pub fn stream(mut self, stream: Nanos) -> Self {
        self.stream = stream;
        self
    }

    /// Spends this long in the gateway before the filter sees it.
    #[must_use]
    pub fn before(mut self, before: Nanos) -> Self {
        self.before = before;
        self
    }

    /// Nothing follows the response headers.
    #[must_use]
    pub fn headers_only(mut self) -> Self {
        self.headers_only = true;
        self.stream(Nanos(0))
    }

    /// Goes through another cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: &str) -> Self {
        cluster.clone_into(&mut self.cluster);
        self
    }

    /// Is served by another filter configuration.
    #[must_use]
    pub fn plugin(mut self, plugin: &str) -> Self {
        plugin.clone_into(&mut self.plugin);
        self
    }

    /// Takes another route.
    #[must_use]
    pub fn route(mut self, route: &str) -> Self {
        route.clone_into(&mut self.route);
        self
    }

    /// Was tried before, in vain.
    #[must_use]
    pub fn tried(mut self, before: Try) -> Self {
        self.tries
            .insert(self.tries.len().saturating_sub(1), before);
        self
    }

    /// The same, ready to be sent many times.
    #[must_use]
    pub fn shared(self) -> Rc<Self> {
        Rc::new(self)
    }

    /// The key that a filter attributes it to: the last address, else the cluster.
    #[must_use]
    pub fn key(&self) -> String {
        match self.tries.last() {
            Some(last) if self.ending.has_address() => last.address.clone(),
            _ => format!("{}{}", gaugeway_wire::mapping::CLUSTER_PREFIX, self.cluster),
        }
    }
}

impl Ending {
    /// Code that the upstream answered.
    #[must_use]
    pub fn upstream_code(self) -> Option<u16> {
        match self {
            Self::Response(code) | Self::CutByUpstream(code) | Self::CutByClient(code) => {
                Some(code)
            }
            _ => None,
        }
    }

    /// Code that the client was sent; `None` when it left before one.
    #[must_use]
    pub fn code(self) -> Option<u16> {
        match self {
            Self::Response(code)
            | Self::CutByUpstream(code)
            | Self::CutByClient(code)
            | Self::Local(code)
            | Self::DeniedBefore(code) => Some(code),
            Self::Timeout => Some(504),
            Self::Reset | Self::ConnectFailure | Self::Overflow | Self::NoEndpoint => Some(503),
            Self::Cancelled => None,
        }
    }

    /// Whether the gateway chose an address and named it.
    #[must_use]
    pub fn has_address(self) -> bool {
        !matches!(
            self,
            Self::Overflow | Self::NoEndpoint | Self::Local(_) | Self::DeniedBefore(_)
        )
    }

    /// Whether the response was cut after its headers.
    #[must_use]
    pub fn is_cut(self) -> bool {
        matches!(self, Self::CutByUpstream(_) | Self::CutByClient(_))
    }

    pub(crate) fn class(self) -> Option<RequestClass> {
        let outcome = match self {
            Self::Response(_) | Self::CutByUpstream(_) | Self::CutByClient(_) => Outcome::Response,
            Self::Timeout => Outcome::Timeout,
            Self::Reset => Outcome::Reset,
            Self::ConnectFailure => Outcome::ConnectFailure,
            Self::Overflow => Outcome::Overflow,
            Self::NoEndpoint => Outcome::NoEndpoint,
            Self::Cancelled => Outcome::Cancelled,
            Self::Local(_) | Self::DeniedBefore(_) => return None,
        };
        Some(RequestClass {
            outcome,
            code: CodeClass::of(self.code().unwrap_or(0).into()),
        })
    }
}
