//! One gateway's filter towards one controller: recorder, mapping and reporter together.

use gaugeway_wire::{CONTENT_TYPE, FilterCounter, GATEWAY_HEADER, Nanos, Policy, UnixNanos, VmId};

use crate::{
    backoff::Jitter,
    config::{Config, Gateway},
    host::{CallToken, Host, Level, Post, Reply},
    mapping::Mapping,
    recorder::{Carries, Limits, Recorder},
    reporter::Reporter,
    time::{Instant, Stopwatch},
};

/// Longest stretch between two answers that counts as "the controller answers".
const SILENCE: Nanos = Nanos::from_millis(30_000);

/// One callback's view of the host, the time and the configuration.
pub(crate) struct Turn<'a, H> {
    host: &'a mut H,
    config: &'a Config,
    bearer: &'a str,
    pub(crate) jitter: &'a mut Jitter,
    pub(crate) now: Instant,
    pub(crate) wall: UnixNanos,
}

/// What a call to the controller came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A good answer.
    Success,
    /// Another one, by its status, or none.
    Failure(Option<u16>),
}

impl<H: Host> Turn<'_, H> {
    /// Whether mapping requests travel inside reports' calls: where each call costs its worker memory for good.
    pub(crate) fn is_combined(&self) -> bool {
        self.config.host == Gateway::Kong
    }

    /// Sends a body to the controller.
    pub(crate) fn post(&mut self, path: &str, body: &[u8], timeout: Nanos) -> Option<CallToken> {
        let headers = [
            (":method", "POST"),
            (":path", path),
            (":authority", &*self.config.authority),
            ("content-type", CONTENT_TYPE),
            (GATEWAY_HEADER, self.config.gateway.as_str()),
            ("authorization", self.bearer),
        ];
        let headers = match self.bearer {
            "" => headers.split_last().map_or([].as_slice(), |(_, rest)| rest),
            _ => &headers,
        };
        self.host.post(&Post {
            cluster: &self.config.cluster,
            headers,
            body,
            timeout,
        })
    }

    /// Whether this callback has taken longer than `budget`.
    pub(crate) fn is_over(&mut self, budget: Nanos) -> bool {
        let now = self.host.now();
        now.since(self.wall).is_some_and(|taken| taken >= budget)
    }
}

/// Whether the controller answers, for the grace of unknown keys and for the log.
#[derive(Debug, Default)]
struct Health {
    /// The last good answer, if no failure came since.
    answered: Option<Instant>,
    /// Time in which it answered, in all.
    answering: Nanos,
    /// The failures that were logged last: of mapping and report calls.
    complained: [Option<Option<u16>>; 2],
    /// The last call's token was refused.
    refused: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    config: Config,
    bearer: String,
    pub(crate) recorder: Recorder,
    mapping: Mapping,
    reporter: Reporter,
    health: Health,
    jitter: Jitter,
    watch: Stopwatch,
    /// When a mapping was first wanted.
    wanted: Option<Instant>,
    /// Told by the controller: in force instead of the configuration's.
    told_policy: bool,
}

impl Agent {
    /// Makes the VM's identity towards this controller.
    pub(crate) fn new(config: Config, limits: &Limits, host: &mut impl Host) -> Self {
        let mut random = [0; 24];
        let seeded = host.fill(&mut random);
        let (vm, seed) = random.split_at(16);
        let seed = u64::from_le_bytes(seed.try_into().unwrap_or_default());
        let mut jitter = Jitter::new(seed);
        let mut vm: [u8; 16] = vm.try_into().unwrap_or_default();
        if !seeded {
            // Better a poor name than none: the clock has nanoseconds, and VMs start at different ones.
            jitter = Jitter::new(host.now().0);
            let (high, low) = (jitter.next(), jitter.next());
            vm = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        }
        let vm = VmId(at_a_time(vm, host.now()));
        let carries = match config.host {
            Gateway::Envoy => Carries::Metadata,
            Gateway::Kong => Carries::Names,
        };
        let mut recorder = Recorder::new(limits, &config.policy, carries, &mut jitter);
        if !seeded {
            recorder.counters.bump(FilterCounter::HostErrors);
        }
        Self {
            bearer: bearer(&config),
            recorder,
            mapping: Mapping::new(vm),
            reporter: Reporter::new(vm, config.interval(&config.policy)),
            health: Health::default(),
            jitter,
            watch: Stopwatch::default(),
            wanted: None,
            told_policy: false,
            config,
        }
    }

    /// Whether a configuration means this agent.
    pub(crate) fn serves(&self, config: &Config) -> bool {
        self.config.is_same_agent(config)
    }

    /// Takes over a newer configuration of the same gateway and controller.
    pub(crate) fn reconfigure(&mut self, config: Config) {
        if config.host == Gateway::Kong {
            // WasmX ends the whole instance, without a word, when Lua collects the configuration that this one replaces.
            self.reporter.hurry(self.watch.passed());
        }
        self.bearer = bearer(&config);
        self.health.refused = false;
        self.config = config;
        if !self.told_policy {
            let policy = self.config.policy.clone();
            self.set_policy(&policy);
        }
    }

    /// The token in force, if it was refused.
    pub(crate) fn refused_token(&self) -> Option<&str> {
        self.health.refused.then_some(&*self.config.token)
    }

    /// Goes on with another configuration's token.
    pub(crate) fn try_token(&mut self, token: &str) {
        token.clone_into(&mut self.config.token);
        self.bearer = bearer(&self.config);
        self.health.refused = false;
    }

    fn set_policy(&mut self, policy: &Policy) {
        self.recorder.set_policy(policy);
        let now = self.watch.passed();
        let interval = self.config.interval(policy);
        self.reporter.set_interval(interval, now);
    }

    /// Does what is due. Nothing, before the first request: a VM that never serves (a canary, the main thread's) is
    /// never heard of.
    pub(crate) fn tick<H: Host>(&mut self, host: &mut H) {
        let wall = host.now();
        self.watch.read(wall);
        self.recorder
            .set_time(self.watch.passed(), self.health.answering);
        if !self.recorder.has_counted() {
            return;
        }
        self.take_turn(host, wall, |mapping, reporter, turn, recorder| {
            if turn.is_combined() {
                mapping.advance(turn, recorder);
            } else {
                mapping.drive(turn, recorder);
            }
            reporter.drive(turn, recorder, mapping);
        });
        self.take_told_policy();
        let now = self.watch.passed();
        let waited = now.since(*self.wanted.get_or_insert(now));
        self.recorder.set_unreached(waited, self.mapping.is_known());
        self.recorder.sweep();
    }

    /// The answer to a call. False when it is none of this agent's.
    pub(crate) fn on_reply<H: Host>(
        &mut self,
        token: CallToken,
        reply: &mut Reply,
        host: &mut H,
    ) -> bool {
        let wall = host.now();
        self.watch.read(wall);
        self.recorder
            .set_time(self.watch.passed(), self.health.answering);
        let heard = self.take_turn(host, wall, |mapping, reporter, turn, recorder| {
            if let Some(heard) = mapping.on_reply(token, reply, turn, recorder) {
                return Some((0, heard));
            }
            Some((1, reporter.on_reply(token, reply, turn, recorder, mapping)?))
        });
        let Some((call, heard)) = heard else {
            return false;
        };
        self.take_told_policy();
        if let Some(line) = self
            .health
            .note(call, heard, self.watch.passed(), &self.config)
        {
            host.log(line.0, &line.1);
        }
        true
    }

    /// The last root is going: one best effort to report what there is.
    pub(crate) fn flush<H: Host>(&mut self, host: &mut H) {
        let wall = host.now();
        self.watch.read(wall);
        self.recorder.give_up_waiting();
        self.take_turn(host, wall, |_, reporter, turn, recorder| {
            reporter.flush(turn, recorder);
        });
    }

    /// A root is gone, and with it the answers to its calls. Which root made which call is not noted: what is asked or
    /// sent once more does no harm.
    pub(crate) fn forget_calls(&mut self) {
        self.mapping.forget_calls(&mut self.recorder);
        self.reporter
            .forget_call(&mut self.recorder, &mut self.mapping);
    }

    /// Whether nothing is left to report.
    pub(crate) fn is_drained(&self) -> bool {
        self.reporter.is_drained(&self.recorder)
    }

    fn take_turn<H: Host, T>(
        &mut self,
        host: &mut H,
        wall: UnixNanos,
        act: impl FnOnce(&mut Mapping, &mut Reporter, &mut Turn<'_, H>, &mut Recorder) -> T,
    ) -> T {
        let mut turn = Turn {
            host,
            config: &self.config,
            bearer: &self.bearer,
            jitter: &mut self.jitter,
            now: self.watch.passed(),
            wall,
        };
        act(
            &mut self.mapping,
            &mut self.reporter,
            &mut turn,
            &mut self.recorder,
        )
    }

    fn take_told_policy(&mut self) {
        if let Some(policy) = self.mapping.take_policy() {
            self.told_policy = true;
            self.set_policy(&policy);
        }
    }
}

/// Makes a VM's name of random bytes one of that time, too: WasmX's are those of a generator that each worker seeds with
/// 32 bits of its process id and its start's time, so that workers of two Pods can have the same.
fn at_a_time(random: [u8; 16], now: UnixNanos) -> [u8; 16] {
    (u128::from_le_bytes(random) ^ u128::from(now.0)).to_le_bytes()
}

fn bearer(config: &Config) -> String {
    match config.token.as_str() {
        "" => String::new(),
        token => format!("Bearer {token}"),
    }
}

impl Health {
    /// Notes an answer; returns a line for the log when there is something new to say.
    fn note(
        &mut self,
        call: usize,
        heard: Heard,
        now: Instant,
        config: &Config,
    ) -> Option<(Level, String)> {
        self.refused = matches!(heard, Heard::Failure(Some(401 | 403)));
        let complained = self.complained.get_mut(call)?;
        match heard {
            Heard::Success => {
                if let Some(last) = self.answered.replace(now) {
                    let time = now.since(last).min(SILENCE);
                    self.answering = Nanos(self.answering.0.saturating_add(time.0));
                }
                complained.take().map(|_| {
                    let line = format!("gaugeway: the controller answers {} again", config.gateway);
                    (Level::Info, line)
                })
            }
            Heard::Failure(status) => {
                self.answered = None;
                let news = complained.replace(status) != Some(status);
                news.then(|| (Level::Warn, complaint(status, config)))
            }
        }
    }
}

/// What a failure means and what to do about it.
fn complaint(status: Option<u16>, config: &Config) -> String {
    let (gateway, cluster) = (&config.gateway, &config.cluster);
    let advice = match status {
        None => "no answer: is the controller running, and is this its filters' port?",
        Some(401 | 403) => "it refuses the token: make one for this gateway with `gaugeway token`.",
        Some(404) => {
            "it does not serve this path: is it a gaugeway controller of a fitting version?"
        }
        Some(400 | 413 | 422) => {
            "it refuses what was sent: are filter and controller of fitting versions?"
        }
        Some(200) => {
            "its answer cannot be understood: is it a gaugeway controller of a fitting version?"
        }
        Some(503) => "it is not ready, or cannot be reached.",
        Some(_) => "it failed.",
    };
    let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    format!(
        "gaugeway: gateway {gateway}, calls to the controller ({cluster}) fail with status {status}: {advice} \
         Counts are kept and sent again."
    )
}
