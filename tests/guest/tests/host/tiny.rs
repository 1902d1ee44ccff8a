//! Tiny modules: every callback logs its letter, then does what a test says.

use std::{collections::BTreeMap, fmt::Write as _, rc::Rc};

use gaugeway_guest::{GuestModule, Personality, Sim, abi::callback, sim::Options};

/// A module in the making.
pub(crate) struct Tiny {
    bodies: BTreeMap<&'static str, String>,
    without: Vec<&'static str>,
    extra: String,
    data: String,
    next_data: usize,
}

struct Signature {
    name: &'static str,
    letter: char,
    params: usize,
    result: Option<u32>,
}

const fn signature(
    name: &'static str,
    letter: char,
    params: usize,
    result: Option<u32>,
) -> Signature {
    Signature {
        name,
        letter,
        params,
        result,
    }
}

const SIGNATURES: [Signature; 12] = [
    signature(callback::CONTEXT_CREATE, 'c', 2, None),
    signature(callback::VM_START, 'S', 2, Some(1)),
    signature(callback::CONFIGURE, 'C', 2, Some(1)),
    signature(callback::TICK, 't', 1, None),
    signature(callback::REQUEST_HEADERS, 'q', 3, Some(0)),
    signature(callback::REQUEST_BODY, 'b', 3, Some(0)),
    signature(callback::RESPONSE_HEADERS, 'r', 3, Some(0)),
    signature(callback::RESPONSE_BODY, 'B', 3, Some(0)),
    signature(callback::HTTP_CALL_RESPONSE, 'a', 5, None),
    signature(callback::DONE, 'd', 1, Some(1)),
    signature(callback::LOG, 'l', 1, None),
    signature(callback::DELETE, 'x', 1, None),
];

const PRELUDE: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value" (func $header (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
(import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
(import "env" "proxy_http_call"
  (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
"#;

const HELPERS: &str = r#"
(memory (export "memory") 3)
(global $heap (mut i32) (i32.const 131072))
(func (export "proxy_abi_version_0_2_1"))
(func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $n)) (i32.const 190000))
    (then (global.set $heap (i32.const 131072))))
  (global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get $n))))
(func $mark (param $letter i32)
  (i32.store8 (i32.const 0) (local.get $letter))
  (drop (call $log (i32.const 2) (i32.const 0) (i32.const 1))))
(func $show (param $status i32)
  (if (i32.eqz (local.get $status))
    (then (drop (call $log (i32.const 1) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
    (else
      (i32.store8 (i32.const 0) (i32.add (local.get $status) (i32.const 48)))
      (drop (call $log (i32.const 4) (i32.const 0) (i32.const 1))))))
(func $read (param $path i32) (param $len i32)
  (i32.store (i32.const 20) (i32.const 0))
  (call $show
    (call $property (local.get $path) (local.get $len) (i32.const 16) (i32.const 20))))
(func $dispatch (param $to i32) (param $len i32) (param $headers i32) (param $headers_len i32)
  (call $show (call $call (local.get $to) (local.get $len)
    (local.get $headers) (local.get $headers_len)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 24))))
"#;

impl Tiny {
    pub(crate) fn new() -> Self {
        Self {
            bodies: BTreeMap::new(),
            without: Vec::new(),
            extra: String::new(),
            data: String::new(),
            next_data: 1024,
        }
    }

    /// Leaves an export out.
    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    /// Imports one function more.
    pub(crate) fn import(mut self, text: &str) -> Self {
        self.extra.push_str(text);
        self
    }

    /// A callback also does this.
    pub(crate) fn does(mut self, name: &'static str, body: &str) -> Self {
        self.bodies.entry(name).or_default().push_str(body);
        self
    }

    /// A callback also reads a property and logs its value at level 1, or its status at level 4.
    pub(crate) fn reads(mut self, name: &'static str, path: &str) -> Self {
        let (at, len) = self.text(path.as_bytes());
        self.does(
            name,
            &format!("(call $read (i32.const {at}) (i32.const {len}))"),
        )
    }

    /// A callback also dispatches a well-formed call; a status other than 0 is logged at level 4.
    pub(crate) fn dispatches(mut self, name: &'static str, to: &str) -> Self {
        let pairs = [(":method", "POST"), (":path", "/"), (":authority", "x")];
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let (headers, headers_len) = self.text(&gaugeway_guest::abi::marshal_pairs(&pairs));
        let (to, len) = self.text(to.as_bytes());
        let body = format!(
            "(call $dispatch (i32.const {to}) (i32.const {len}) (i32.const {headers}) (i32.const {headers_len}))"
        );
        self.does(name, &body)
    }

    /// Sets the tick period.
    pub(crate) fn sets_period(self, name: &'static str, ms: u32) -> Self {
        self.does(name, &format!("(drop (call $period (i32.const {ms})))"))
    }

    /// Reads a header of the answer to a call.
    pub(crate) fn reads_answer_header(mut self, header: &str) -> Self {
        let (at, len) = self.text(header.as_bytes());
        self.does(
            callback::HTTP_CALL_RESPONSE,
            &format!(
                "(call $show (call $header (i32.const 6) (i32.const {at}) (i32.const {len}) (i32.const 16) (i32.const 20)))"
            ),
        )
    }

    fn text(&mut self, bytes: &[u8]) -> (usize, usize) {
        let at = self.next_data;
        let mut text = String::new();
        for byte in bytes {
            let _ = write!(text, "\\{byte:02x}");
        }
        let _ = writeln!(self.data, "(data (i32.const {at}) \"{text}\")");
        self.next_data += bytes.len() + 8;
        (at, bytes.len())
    }

    /// The module.
    pub(crate) fn wasm(&self) -> Vec<u8> {
        let mut text = format!("(module {PRELUDE} {} {HELPERS} {}", self.extra, self.data);
        for signature in SIGNATURES
            .iter()
            .filter(|s| !self.without.contains(&s.name))
        {
            let params = " i32".repeat(signature.params);
            let (result, value) = match signature.result {
                Some(value) => ("(result i32)", format!("(i32.const {value})")),
                None => ("", String::new()),
            };
            let body = self
                .bodies
                .get(signature.name)
                .map(String::as_str)
                .unwrap_or_default();
            let letter = u32::from(signature.letter);
            let _ = writeln!(
                text,
                "(func (export \"{}\") (param{params}) {result} (call $mark (i32.const {letter})) {body} {value})",
                signature.name
            );
        }
        text.push(')');
        let text = self.without.iter().fold(text, |text, name| {
            text.replace(&format!("(export \"{name}\")"), "")
        });
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(crate) fn load(&self, personality: Personality) -> Rc<GuestModule> {
        Rc::new(GuestModule::load(&self.wasm(), personality).unwrap())
    }

    /// One worker, configured.
    pub(crate) fn sim(&self, personality: Personality) -> Sim {
        self.sim_with(personality, Options::default())
    }

    pub(crate) fn sim_with(&self, personality: Personality, options: Options) -> Sim {
        Sim::ready_with(&self.load(personality), options)
    }
}

/// Letters that a worker's guest logged so far; taken.
pub(crate) fn letters(sim: &mut Sim, worker: usize) -> String {
    let host = sim.host(worker).unwrap();
    let (letters, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut host.log)
        .into_iter()
        .partition(|(level, _)| *level == 2);
    host.log = rest;
    letters.into_iter().map(|(_, text)| text).collect()
}

/// Values that a worker's guest read so far, statuses as `!n`; taken.
pub(crate) fn values(sim: &mut Sim, worker: usize) -> Vec<String> {
    let host = sim.host(worker).unwrap();
    let log = std::mem::take(&mut host.log);
    let text = |(level, text)| match level {
        1 => Some(text),
        4 => Some(format!("!{text}")),
        _ => None,
    };
    log.into_iter().filter_map(text).collect()
}
