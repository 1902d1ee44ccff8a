//! The filter's configuration: the JSON of the plugin configuration.

use core::ops::RangeInclusive;

use gaugeway_wire::{
    ClassicBounds, GatewayName, Nanos, Policy, Schema, limits::REPORT_INTERVAL_MS,
};

mod json;

use self::json::{Reader, Unexpected};

/// Longest configuration that is read, in bytes. Hosts are known to suffer from long ones.
pub const CONFIGURATION_BYTES: usize = 64 * 1024;
/// Longest name or token, in bytes.
const TEXT_BYTES: usize = 512;

/// The kind of gateway that a module is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// Envoy: two calls, one of them a long poll; the controller is a cluster.
    Envoy,
    /// Kong: one call per interval; the controller is an address.
    Kong,
}

/// What one root is configured to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What it runs in.
    pub host: Gateway,
    /// This gateway.
    pub gateway: GatewayName,
    /// The host's name for the controller: Envoy's cluster, Kong's `HOST:PORT`.
    pub cluster: String,
    /// `:authority` of calls to it.
    pub authority: String,
    /// Its word for this gateway; may be empty.
    pub token: String,
    /// In force until the controller tells another.
    pub policy: Policy,
    /// The shortest time between two reports, whatever the policy says.
    pub least_interval: Nanos,
    /// What requests belong to that nothing else tells of.
    pub identity: Identity,
    /// Kong: what it ends itself after so long, it ends because the time is up.
    pub timeout: Nanos,
}

/// Between two calls where each one leaks about 1.5 KB in its worker: at one per second that is 130 MB a day.
const KONG_INTERVAL: Nanos = Nanos::from_millis(15_000);
/// Kong's default time-outs (connect, write, read), all 60 s.
const TIMEOUT: Nanos = Nanos::from_millis(60_000);

/// What the configuration of one root says of the requests that it sees; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Namespace of the route, and of the Service unless that is given with its own.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Name of the route.
    pub route: String,
}

impl Identity {
    /// The Service as a mapping names a cluster: `namespace/service`.
    #[must_use]
    pub fn cluster(&self) -> Option<String> {
        let known = !self.namespace.is_empty() && !self.service.is_empty();
        known.then(|| format!("{}/{}", self.namespace, self.service))
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Over [`CONFIGURATION_BYTES`].
    #[error("the configuration is longer than 64 KiB")]
    Size,
    /// Not what is expected.
    #[error(
        "the configuration is not the JSON object that this filter reads: at byte {0} there should be {1}"
    )]
    Json(usize, &'static str),
    /// A member has no legal value.
    #[error("\"{0}\" {1}")]
    Value(&'static str, &'static str),
}

/// What was read, before it is checked; empty or absent where the configuration says nothing.
#[derive(Default)]
struct RawConfig {
    gateway: String,
    cluster: String,
    controller: String,
    authority: Option<String>,
    token: String,
    policy: RawPolicy,
    identity: RawIdentity,
    timeout_ms: Option<u64>,
}

#[derive(Default)]
struct RawIdentity {
    namespace: String,
    service: String,
    route: String,
}

#[derive(Default)]
struct RawPolicy {
    schema: Option<u64>,
    classic_bounds_ns: Option<Vec<u64>>,
    report_interval_ms: Option<u64>,
    route: Option<bool>,
    unknown_grace_ms: Option<u64>,
}

impl RawConfig {
    fn read(json: &[u8]) -> Result<Self, Unexpected> {
        let text = core::str::from_utf8(json).map_err(|error| Unexpected {
            wanted: "text in UTF-8",
            at: error.valid_up_to(),
        })?;
        let mut raw = Self::default();
        let mut reader = Reader::new(text);
        reader.object(&mut |reader, name| {
            match name {
                "gateway" => raw.gateway = reader.string()?,
                "cluster" => raw.cluster = reader.string()?,
                "controller" => raw.controller = reader.string()?,
                "authority" => raw.authority = Some(reader.string()?),
                "token" => raw.token = reader.string()?,
                "policy" => raw.policy.read(reader)?,
                "identity" => raw.identity.read(reader)?,
                "timeout_ms" => raw.timeout_ms = Some(reader.number()?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.end().map(|()| raw)
    }
}

impl Config {
    /// Reads and checks. Unknown members are ignored.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(json: &[u8], host: Gateway) -> Result<Self, ConfigError> {
        if json.len() > CONFIGURATION_BYTES {
            return Err(ConfigError::Size);
        }
        let raw = RawConfig::read(json)
            .map_err(|unexpected| ConfigError::Json(unexpected.at, unexpected.wanted))?;
        let illegal = "must be 1 to 512 printable ASCII characters without spaces";
        let gateway = GatewayName::try_new(&raw.gateway)
            .map_err(|_| ConfigError::Value("gateway", illegal))?;
        let cluster = match host {
            Gateway::Envoy => address(
                "cluster",
                raw.cluster,
                "must name the host's cluster of the controller",
            ),
            Gateway::Kong => address(
                "controller",
                raw.controller,
                "must be the controller's HOST:PORT",
            ),
        }?;
        Ok(Self {
            host,
            gateway,
            cluster,
            authority: text(
                "authority",
                raw.authority.unwrap_or_else(|| "gaugeway".to_owned()),
            )?,
            token: text("token", raw.token)?,
            least_interval: match host {
                Gateway::Envoy => Nanos(0),
                Gateway::Kong => raw
                    .policy
                    .report_interval_ms
                    .map_or(KONG_INTERVAL, Nanos::from_millis),
            },
            policy: raw.policy.check()?,
            identity: raw.identity.check()?,
            timeout: match raw.timeout_ms {
                None => TIMEOUT,
                Some(ms) => milliseconds("timeout_ms", ms, 0..=u32::MAX)?,
            },
        })
    }

    /// Time between two reports under a policy.
    pub(crate) fn interval(&self, policy: &Policy) -> Nanos {
        policy.report_interval.max(self.least_interval)
    }

    /// Whether another configuration reports as the same gateway to the same controller.
    pub(crate) fn is_same_agent(&self, other: &Self) -> bool {
        self.gateway == other.gateway && self.cluster == other.cluster
    }
}

/// Where the controller is.
fn address(
    name: &'static str,
    value: String,
    illegal: &'static str,
) -> Result<String, ConfigError> {
    match text(name, value)? {
        empty if empty.is_empty() => Err(ConfigError::Value(name, illegal)),
        value => Ok(value),
    }
}

/// A value that a header can carry.
fn text(name: &'static str, value: String) -> Result<String, ConfigError> {
    let fits = value.len() <= TEXT_BYTES && value.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(value)
    } else {
        Err(ConfigError::Value(
            name,
            "must be at most 512 printable ASCII characters without spaces",
        ))
    }
}

fn milliseconds(
    name: &'static str,
    value: u64,
    legal: RangeInclusive<u32>,
) -> Result<Nanos, ConfigError> {
    match u32::try_from(value) {
        Ok(ms) if legal.contains(&ms) => Ok(Nanos::from_millis(value)),
        _ if legal.contains(&0) => Err(ConfigError::Value(name, "must be 0 to 4294967295")),
        _ => Err(ConfigError::Value(name, "must be 50 to 3600000")),
    }
}

impl RawIdentity {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Unexpected> {
        reader.object(&mut |reader, name| {
            match name {
                "namespace" => self.namespace = reader.string()?,
                "service" => self.service = reader.string()?,
                "route" => self.route = reader.string()?,
                _ => reader.skip()?,
            }
            Ok(())
        })
    }

    fn check(self) -> Result<Identity, ConfigError> {
        Ok(Identity {
            namespace: text("identity.namespace", self.namespace)?,
            service: text("identity.service", self.service)?,
            route: text("identity.route", self.route)?,
        })
    }
}

impl RawPolicy {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Unexpected> {
        reader.object(&mut |reader, name| {
            match name {
                "schema" => self.schema = Some(reader.number()?),
                "classic_bounds_ns" => {
                    let mut bounds = Vec::new();
                    reader.array(&mut |reader| {
                        bounds.push(reader.number()?);
                        Ok(())
                    })?;
                    self.classic_bounds_ns = Some(bounds);
                }
                "report_interval_ms" => self.report_interval_ms = Some(reader.number()?),
                "route" => self.route = Some(reader.boolean()?),
                "unknown_grace_ms" => self.unknown_grace_ms = Some(reader.number()?),
                _ => reader.skip()?,
            }
            Ok(())
        })
    }

    fn check(self) -> Result<Policy, ConfigError> {
        let mut policy = Policy::default();
        if let Some(schema) = self.schema {
            policy.schema = u32::try_from(schema)
                .ok()
                .and_then(Schema::try_new)
                .ok_or(ConfigError::Value("policy.schema", "must be 0 to 5"))?;
        }
        if let Some(bounds) = self.classic_bounds_ns {
            let bounds = bounds.into_iter().map(Nanos).collect();
            let illegal =
                "must be at most 64 strictly increasing numbers of nanoseconds, none over a day";
            policy.classic_bounds = ClassicBounds::try_new(bounds)
                .map_err(|_| ConfigError::Value("policy.classic_bounds_ns", illegal))?;
        }
        if let Some(interval) = self.report_interval_ms {
            policy.report_interval =
                milliseconds("policy.report_interval_ms", interval, REPORT_INTERVAL_MS)?;
        }
        policy.route = self.route.unwrap_or(policy.route);
        if let Some(grace) = self.unknown_grace_ms {
            policy.unknown_grace = milliseconds("policy.unknown_grace_ms", grace, 0..=u32::MAX)?;
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_configuration() {
        let config = Config::parse(
            br#"{"gateway":"demo/edge","cluster":"gaugeway-controller","authority":"gw","token":"00ff","extra":[1],
                "policy":{"schema":5,"classic_bounds_ns":[1,2],"report_interval_ms":1000,"route":true,
                          "unknown_grace_ms":0,"later":{}}}"#,
            Gateway::Envoy,
        )
        .unwrap();
        assert_eq!(config.gateway.as_str(), "demo/edge");
        assert_eq!(
            (&*config.cluster, &*config.authority, &*config.token),
            ("gaugeway-controller", "gw", "00ff")
        );
        assert_eq!(config.policy.schema, Schema::MAX);
        assert_eq!(
            config.policy.classic_bounds.as_slice(),
            [Nanos(1), Nanos(2)]
        );
        assert_eq!(config.policy.report_interval, Nanos::from_millis(1000));
        assert_eq!(
            (config.policy.route, config.policy.unknown_grace),
            (true, Nanos(0))
        );
    }

    #[test]
    fn the_least_configuration_has_defaults() {
        let config = Config::parse(br#"{"gateway":"g","cluster":"c"}"#, Gateway::Envoy).unwrap();
        assert_eq!(config.policy, Policy::default());
        assert_eq!((&*config.authority, &*config.token), ("gaugeway", ""));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |json: &str| {
            let config = Config::parse(json.as_bytes(), Gateway::Envoy);
            config.unwrap_err().to_string()
        };
        assert!(error("{").contains("not the JSON object"));
        assert!(error(r#"{"cluster":"c"}"#).contains("gateway"));
        assert!(error(r#"{"gateway":"a b","cluster":"c"}"#).contains("without spaces"));
        assert!(error(r#"{"gateway":"g","cluster":"c","token":"a\nb"}"#).contains("token"));
        assert!(error(r#"{"gateway":"g","cluster":"c","policy":{"schema":6}}"#).contains("0 to 5"));
        assert!(
            error(r#"{"gateway":"g","cluster":"c","policy":{"classic_bounds_ns":[2,1]}}"#)
                .contains("increasing")
        );
        assert!(Config::parse(&vec![b' '; CONFIGURATION_BYTES + 1], Gateway::Envoy).is_err());
    }
}
